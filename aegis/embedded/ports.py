"""The usual port of a service in, a port that it can listen on out."""

from __future__ import annotations

import logging
import socket

log = logging.getLogger("aegis.embedded")

# Looked at before the system is asked for any port: these lie below the range of outgoing connections, so that a service
# finds its port free again after a restart.
_NEAR = range(20_000, 30_000)
_TRIES = 20


def free_port(preferred: int, host: str = "127.0.0.1") -> int:
    """`preferred` if nothing listens there, else another, which is said in the log.

    Nothing keeps the port until the service listens on it, so the service may still find it taken.
    """
    if preferred and _is_free(host, preferred):
        return preferred
    start = _NEAR.start + preferred % 10_000
    near = (port for port in range(start, start + _TRIES) if preferred and port in _NEAR and _is_free(host, port))
    port = next(near, None) or _any_port(host)
    if preferred:
        log.warning("port %d is taken, using %d", preferred, port)
    return port


def _is_free(host: str, port: int) -> bool:
    with socket.socket(_family(host), socket.SOCK_STREAM) as probe:
        # As servers do it: connections of an earlier run that linger do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def _any_port(host: str) -> int:
    with socket.socket(_family(host), socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
