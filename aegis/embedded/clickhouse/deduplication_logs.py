"""A data folder that no engine uses in; its deduplication logs, freed of blocks that were never stored, out.

ClickHouse writes a block's token into the table's deduplication log first and renames the part to its name after that. An engine
that is killed between the two remembers a block that it does not have, and drops the block's repeat: the rows are lost, or those
of a view. So before the engine starts, each record whose part is nowhere is taken back, in the log's own way: by a record of
its removal. It must be before the first insert, as that gets the number of the part that never was.

The format: MergeTreeDeduplicationLog.cpp of ClickHouse, a line "operation TAB part TAB block" each, 1 adds and 2 drops.
"""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)

_ADD, _DROP = "1", "2"
# Only inserts that ran when the engine was killed can be at fault, so the log's end is enough: some 900 records of each of the
# last two files. Whole, a log of 100,000 blocks takes a second and 100 MB.
_END_BYTES = 64 << 10


def forget_unstored_blocks(path: Path) -> int:
    """Repair every table below `path`; returns how many blocks were forgotten. A folder that an engine uses is left alone."""
    try:
        status = (path / "status").open("rb")
    except FileNotFoundError:
        return 0  # Never used.
    with status:
        try:
            # The lock by which the engine owns the folder.
            fcntl.flock(status, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return 0
        return sum(_repair(folder) for folder in path.glob("store/*/*/deduplication_logs"))


def _repair(folder: Path) -> int:
    # In the order in which they were written; a new file is begun now and then.
    files = sorted(folder.glob("deduplication_log_*.txt"), key=lambda file: int(file.stem.rpartition("_")[2]))
    known: dict[str, str] = {}
    for file in files[-2:]:
        for line in _end_of(file):
            fields = line.split("\t")
            if len(fields) != 3:
                continue  # The engine stops at such a line, too, and says so.
            operation, part, block = fields
            if operation == _ADD:
                known[block] = part
            else:
                known.pop(block, None)
    stored = _stored_ranges(folder.parent)
    unstored = {block: part for block, part in known.items() if not _is_stored(part, stored)}
    if unstored:
        with files[-1].open("a") as last:
            last.write("".join(f"{_DROP}\t{part}\t{block}\n" for block, part in unstored.items()))
        log.warning("%s: forgot %d tokens of blocks that were not stored", folder.parent, len(unstored))
    return len(unstored)


def _end_of(file: Path) -> list[str]:
    """The last whole lines."""
    with file.open("rb") as opened:
        size = opened.seek(0, os.SEEK_END)
        begin = opened.seek(max(0, size - _END_BYTES))
        lines = opened.read().decode().splitlines()
    return lines[1:] if begin else lines


def _stored_ranges(table: Path) -> dict[str, list[tuple[int, int]]]:
    """Partition -> the ranges of block numbers that its parts hold; merged parts hold those of what they were made of."""
    ranges: dict[str, list[tuple[int, int]]] = {}
    for folder in table.iterdir():
        place = _place_of(folder.name)
        if place is not None:
            partition, first, last = place
            ranges.setdefault(partition, []).append((first, last))
    return ranges


def _is_stored(part: str, stored: dict[str, list[tuple[int, int]]]) -> bool:
    place = _place_of(part)
    if place is None:
        return True  # A name that we do not understand is not ours to judge.
    partition, first, last = place
    return any(low <= first and last <= high for low, high in stored.get(partition, []))


def _place_of(part: str) -> tuple[str, int, int] | None:
    """ "20261031_2_5_1" -> ("20261031", 2, 5), and a fifth number, of a mutation, is left out; None for what is no part."""
    partition, *numbers = part.split("_")
    if not partition or not 3 <= len(numbers) <= 4 or not all(number.isdecimal() for number in numbers):
        return None
    return partition, int(numbers[0]), int(numbers[1])
