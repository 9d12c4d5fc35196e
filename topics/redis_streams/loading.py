"""What a worker must know before it reads: epochs of owned partitions in, lanes with their committed offsets out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from topics.redis_streams.catalogue import adopt_run
from topics.redis_streams.entries import decode_entry, entry_id, last_offset, offset_of
from topics.redis_streams.lane import Changelog, Lane, Track
from topics.redis_streams.positions import begin_track
from topics.redis_streams.store import PartitionedStore
from topics.redis_streams.wire import ReplyError, Wire

if TYPE_CHECKING:
    from topics.redis_streams.consumer import Consumer


_ROWS_A_READ = 1000


async def read_lanes(consumer: Consumer, epochs: Mapping[int, bytes], clean: Mapping[int, Lane]) -> dict[int, Lane]:
    """Return a fresh lane for every partition, positioned behind the last commit. Raises Unavailable.

    Tables are loaded from their changelogs, except those of `clean` lanes, whose memory is what was committed.
    """
    wire = consumer.transport.wire("loading")
    try:
        # Offsets and the name of the history they belong to go together: sinks make their tokens of both.
        consumer.transport.incarnation = await adopt_run(wire, consumer.transport.keys)
        lanes: dict[int, Lane] = {}
        for partition, epoch in epochs.items():
            lanes[partition] = await _read_lane(wire, consumer, Lane(partition, epoch, wire.run_id))
        await _load_tables(wire, consumer, lanes, clean)
        return lanes
    finally:
        await wire.close()


async def _read_lane(wire: Wire, consumer: Consumer, lane: Lane) -> Lane:
    keys, group = consumer.transport.keys, consumer.group
    for topic in sorted(consumer.topics):
        if lane.partition >= (consumer.transport.catalogue.known(topic) or 0):
            continue
        if topic in consumer.app.tables.changelog_topics:
            # Faust counts changelogs among what is assigned; they are loaded below and never read as a stream.
            lane.tracks[topic] = Track(1)
            continue
        lane.tracks[topic] = await begin_track(partial(wire.call, strict=False), keys, group, topic, lane.partition)
    return lane


async def _load_tables(wire: Wire, consumer: Consumer, lanes: Mapping[int, Lane], clean: Mapping[int, Lane]) -> None:
    """Make every table show exactly the committed rows of the partitions owned now."""
    for topic, table in consumer.app.tables._changelogs.items():
        store = table.data
        if not isinstance(store, PartitionedStore):
            raise RuntimeError(f"cannot keep table {table.name}: its store is {type(store).__name__}")
        kept = {p for p, lane in clean.items() if p in lanes and topic in lane.changelogs}
        for partition in store.partitions():
            if partition not in kept:
                store.drop_partition(partition)
        for partition, lane in lanes.items():
            if partition in kept and clean[partition].run_id == lane.run_id:
                lane.changelogs[topic] = clean[partition].changelogs[topic]
            elif partition < (consumer.transport.catalogue.known(topic) or 0):
                store.drop_partition(partition)
                lane.changelogs[topic] = await _load_table(
                    wire, consumer.transport.keys.stream(topic, partition), partition, table, store
                )


async def _load_table(wire: Wire, stream: str, partition: int, table: Any, store: PartitionedStore) -> Changelog:
    """Read a whole changelog in large pieces; Faust's own recovery handles it row by row, four times slower."""
    log = Changelog()
    read_key, read_value = table.app.serializers.loads_key, table.app.serializers.loads_value
    while True:
        (entries,) = await wire.call(("XRANGE", stream, entry_id(log.last + 1), "+", "COUNT", _ROWS_A_READ))
        for name, fields in entries:
            entry = decode_entry(fields)
            log.last = offset_of(name)
            raw_key = entry.key or b""
            key = table._to_key(read_key(table.key_type, raw_key, serializer=table.key_serializer))
            if entry.value is None:
                log.tombstone = log.last
                log.rows.pop(raw_key, None)
                store.drop_row(partition, key)
            else:
                log.tombstone = None
                log.rows[raw_key] = log.last
                value = read_value(table.value_type, entry.value, serializer=table.value_serializer)
                store.load_row(partition, key, table._to_value(value))
        if len(entries) < _ROWS_A_READ:
            (info,) = await wire.call(("XINFO", "STREAM", stream), strict=False)
            if not isinstance(info, ReplyError):
                log.last = max(log.last, last_offset(info))
            return log
