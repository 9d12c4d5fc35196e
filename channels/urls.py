"""A URL that somebody typed -> its parts, checked; the same parts are looked at and connected to.

One parser, so that there is no second opinion about which host a URL names.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from topics.errors import Refused

URL_BYTES_MAX: Final = 2048
_PORTS: Final = {"http": 80, "https": 443}
_LOWEST_OTHER_PORT: Final = 1024
_PRINTABLE: Final = re.compile(r"[!-~]+")
_HOST: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\]")


class Target(NamedTuple):
    """Where a request goes. `host` is without brackets and in ASCII, `path` has the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The Host header: with the port where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """What may be shown to those who must not see secrets: paths and queries often are some."""
        return f"{self.scheme}://{self.authority}"


def parse_url(text: str, *, path: str = "config.url") -> Target:
    """A URL -> its parts. Raises `Refused` that blames the field `path`: for another scheme than http and https, a user name, a
    port below 1024 other than 80 and 443, or a host that is none."""
    if len(text) > URL_BYTES_MAX:
        raise _bad(f"a URL has at most {URL_BYTES_MAX} characters", path)
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError as exc:
        raise _bad("it is not a URL", path) from exc
    scheme = parts.scheme.lower()
    if scheme not in _PORTS:
        raise _bad("a URL begins with https:// or http://", path)
    if "@" in parts.netloc:
        raise _bad("a URL must not hold a user name or password; use a header", path)
    if not host.isascii():
        try:
            host = host.encode("idna").decode()
        except UnicodeError as exc:
            raise _bad("its host is not a name", path) from exc
    if not _HOST.fullmatch(f"[{host}]" if ":" in host else host):
        raise _bad("its host is not a name", path)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not _PRINTABLE.fullmatch(target) or any(c in text for c in "\r\n\t\\"):
        raise _bad("characters other than printable ASCII must be percent-encoded", path)
    port = _PORTS[scheme] if port is None else port
    if port < _LOWEST_OTHER_PORT and port not in _PORTS.values():
        raise _bad("its port must be 80, 443, or 1024 and above", path)
    return Target(scheme, host, port, target)


def _bad(why: str, path: str) -> Refused:
    return Refused(f"cannot use the URL: {why}", code="invalid_field", path=path)
