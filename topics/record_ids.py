"""Where a raw message stood -> the ids of its records."""

from __future__ import annotations


def record_ids(partition: int, offset: int, rows: int) -> range:
    """Ids for the records of one raw message: 8 bits partition, 46 bits offset, 10 bits index.

    Unique within a topic and a transport's incarnation, and the same when the message is handled again, so a record keeps its
    id through any crash. `rows` is at most 1024.
    """
    if not (0 <= partition < 256 and 0 <= offset < 1 << 46 and 0 <= rows <= 1024):
        raise ValueError(f"cannot make record ids for partition {partition}, offset {offset}, {rows} rows")
    first = partition << 56 | offset << 10
    return range(first, first + rows)
