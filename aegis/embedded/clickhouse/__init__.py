"""ClickHouse's own HTTP interface in, the chDB engine out: one process that owns one data path and serves everybody else.

chDB allows one process a data path, and gateway, workers and query are several, so this package gives them the protocol
that they speak to a ClickHouse server in production. Read `app.py` for the way of a request, then `engine.py`.

    sql.py          what kind of statement it is, and where an INSERT's data begin
    requests.py     HTTP request -> Query (SQL, data, settings, parameters)
    compression.py  request and response encodings
    exchange.py     one admitted query: work in a thread, answer, hang-ups
    engine.py       chDB handles: run, stream, insert, kill
    extension.py    chDB without the rest of its package
    failures.py     ClickHouse's error text, codes and HTTP statuses
    admission.py    how many queries run, wait and are refused
    service.py      the process spec that `aegis up` starts
"""
