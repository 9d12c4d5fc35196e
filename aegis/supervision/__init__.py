"""Process specs in, running processes out: started in order, watched, restarted with backoff, stopped in reverse order.

spec.py        what is known of a process before it runs; what happened to one
supervisor.py  all processes of one data folder
process.py     one process: start, ready, restart, stop
child.py       one run of it as an operating-system process (launch.py is what the child executes first)
leftovers.py   what a killed supervisor left running
logs.py        bounded log files
lock.py        one supervisor a data folder
status.py      status.json, for `aegis status` in another process
"""
