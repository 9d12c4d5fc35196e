"""Keeps records: a normalized topic -> its store, in big blocks, each row once. store_logs, store_spans, store_rum and
store_metrics are this agent with a schema and an insert of their own (agents/inserts.py)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from agents.blocks import Block, BlockBounds, BlockWriter
from agents.delivery import Delivery, message_headers
from topics.errors import Refused
from topics.faust_app import EmbeddedApp


class StoreBlocks:
    """The agent: hands each message to the block writer of its partition.

    A message is acknowledged by the writer when its block is stored, never before: a crash between the two repeats the
    insert, and the ledger makes the repeat harmless. A store that is away stops the writers of its own topic alone: what they
    hold is bounded by the transport, a topic partition each.
    """

    def __init__(
        self,
        app: EmbeddedApp,
        *,
        schema: bytes,
        insert: Callable[[Block], Awaitable[None]],
        bounds: BlockBounds,
        delivery: Delivery,
    ) -> None:
        self._app = app
        self._schema = schema
        self._insert = insert
        self._bounds = bounds
        self._delivery = delivery
        self._writers: dict[Any, BlockWriter] = {}

    async def run(self, stream: Any) -> None:
        """Take every event in; ends only with the stream."""
        async for event in stream.noack().events():
            try:
                self._take(event)
            except Refused as exc:
                self._delivery.bury(event, exc)
                event.ack()
            except Exception as exc:
                await self._delivery.give_up(exc)

    async def stop_writers(self, partitions: set[Any]) -> set[int]:
        """Drop what waits for topic partitions, unacknowledged. Returns the partition numbers that had something to drop."""
        found = {tp: self._writers.pop(tp) for tp in partitions if tp in self._writers}
        for writer in found.values():
            await writer.stop()
        return {tp.partition for tp in found}

    def _take(self, event: Any) -> None:
        message = event.message
        headers = message_headers(message)
        if headers.get("schema") != self._schema:
            raise Refused(f"cannot store columns of schema {headers.get('schema')!r}", code="bad_message")
        try:
            rows, size = int(headers["rows"]), int(headers["bytes"])
        except (KeyError, ValueError) as exc:
            raise Refused(f"cannot store columns: header {exc}", code="bad_message") from exc
        writer = self._writers.get(message.tp)
        if writer is None:
            writer = self._writers[message.tp] = BlockWriter(
                topic=message.topic,
                bounds=self._bounds,
                ledger=self._app.streams.ledger(message.tp),
                insert=self._insert,
                delivery=self._delivery,
            )
        writer.add(event, offset=message.offset, value=message.value, rows=rows, size=size)
