"""Keeps logs: topic `logs` -> ClickHouse, in big blocks, each row once."""

from __future__ import annotations

from typing import Any

from agents.blocks import BlockBounds, BlockWriter
from agents.delivery import Delivery, message_headers
from storage.logs import LogStore
from topics import log_columns
from topics.errors import Refused
from topics.faust_app import EmbeddedApp


class StoreLogs:
    """The agent: hands each message to the block writer of its partition.

    A message is acknowledged by the writer when its block is stored, never before: a crash between the two repeats the
    insert, and the ledger makes the repeat harmless.
    """

    def __init__(self, app: EmbeddedApp, *, logs: LogStore, bounds: BlockBounds, delivery: Delivery) -> None:
        self._app = app
        self._logs = logs
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

    async def forget(self, partitions: set[Any]) -> None:
        """Partitions are gone, or start over: drop what waits for them; whoever owns them next reads it again."""
        for tp in partitions:
            writer = self._writers.pop(tp, None)
            if writer is not None:
                await writer.stop()
                # Nobody will acknowledge them any more, so nobody needs to wait for it.
                self._app.streams.abandon(tp.partition)

    def _take(self, event: Any) -> None:
        message = event.message
        headers = message_headers(message)
        if headers.get("schema") != log_columns.SCHEMA_VERSION:
            raise Refused(f"cannot store columns of schema {headers.get('schema')!r}", code="bad_message")
        writer = self._writers.get(message.tp)
        if writer is None:
            writer = self._writers[message.tp] = BlockWriter(
                topic=message.topic,
                bounds=self._bounds,
                ledger=self._app.streams.ledger(message.tp),
                insert=self._insert,
                delivery=self._delivery,
            )
        rows, size = int(headers["rows"]), int(headers.get("bytes", len(message.value)))
        writer.add(event, offset=message.offset, value=message.value, rows=rows, size=size)

    async def _insert(self, messages: list[bytes], rows: int, token: str) -> None:
        await self._logs.insert(log_columns.join(messages, rows), rows=rows, token=token)
