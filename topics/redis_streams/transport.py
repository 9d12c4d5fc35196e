"""The plug-in point of Faust: a `redis://` URL in, a transport whose consumers and producers speak Redis Streams out."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, ClassVar

from faust.transport import base
from faust.transport.conductor import Conductor as FaustConductor
from faust.types import AppT
from yarl import URL

from topics.redis_streams.catalogue import Catalogue
from topics.redis_streams.config import TransportConfig
from topics.redis_streams.consumer import Consumer
from topics.redis_streams.keys import Keys
from topics.redis_streams.producer import Producer
from topics.redis_streams.wire import Wire


class Conductor(FaustConductor):
    """Faust's distributor of messages, which waits 45 s before it reads topics that were added after the start."""

    _resubscribe_sleep_lock_seconds = 1.0


class Transport(base.Transport):
    """Redis Streams under one Faust app.

    `create_app` hands in the configuration; found by its URL alone (entry point `faust.transports`), the transport uses
    the defaults.
    """

    Consumer: ClassVar[Any] = Consumer
    Producer: ClassVar[Any] = Producer
    Conductor: ClassVar[Any] = Conductor

    default_port = 6379
    driver_version = "aegis-redis-streams"

    def __init__(
        self,
        url: list[URL],
        app: AppT,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        config: TransportConfig | None = None,
    ) -> None:
        super().__init__(url, app, loop)
        self.config = config or TransportConfig(url=str(url[0]), data_dir=Path(app.conf.datadir))
        self.keys = Keys(self.config.namespace)
        self.catalogue = Catalogue(self.wire("catalogue"), self.keys, self.config.partitions)
        self.incarnation = ""
        """Which history offsets belong to, "" until the first heartbeat. It changes when Redis restarts."""

    def wire(self, purpose: str) -> Wire:
        """Return a new connection; `purpose` shows in CLIENT LIST."""
        return Wire(self.config.url, name=f"aegis-{purpose}")
