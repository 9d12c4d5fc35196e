"""Faust asks its consumer and its producer alike to create topics: one answer for both."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mode import Seconds

from topics.errors import Unavailable
from topics.redis_streams.wire import backoff_s

if TYPE_CHECKING:
    from topics.redis_streams.transport import Transport


class DeclaresTopics:
    """Declares topics in the catalogue of `transport`. Put it before Faust's class."""

    transport: Transport
    log: Any

    async def create_topic(
        self,
        topic: str,
        partitions: int,
        replication: int,
        *,
        config: Mapping[str, Any] | None = None,
        timeout: Seconds = 30.0,  # noqa: ASYNC109  # Faust's signature
        retention: Seconds | None = None,
        compacting: bool | None = None,
        deleting: bool | None = None,
        ensure_created: bool = False,
    ) -> None:
        """Declare a topic, unless it is known already; waits for Redis, since an app that starts cannot do without."""
        attempt = 0
        while True:
            try:
                await self.transport.catalogue.partitions(topic, partitions)
                return
            except Unavailable as error:
                if attempt == 0:
                    self.log.warning("cannot declare %s yet: %s", topic, error)
                await asyncio.sleep(backoff_s(attempt))
                attempt += 1
