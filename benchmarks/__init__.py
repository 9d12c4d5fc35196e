"""Benchmarks: one question a file; each prints one table with CPU microseconds a record and the hardware beside it."""
