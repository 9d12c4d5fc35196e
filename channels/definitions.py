"""Channels as people define them: a kind and a config in; what may be shown and what is secret, apart, out.

The URL of a webhook often holds a token, and that of Slack is one, so both are kept with the secrets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from channels.urls import URL_BYTES_MAX, parse_url
from topics.errors import Refused

Kind = Literal["webhook", "slack", "email"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
SECRETS: Final[dict[Kind, tuple[str, ...]]] = {"webhook": ("url", "secret", "headers"), "slack": ("url",), "email": ()}
"""Fields of a config that the API takes and never gives back."""

RECIPIENTS_MAX: Final = 20
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_OUR_HEADERS: Final = frozenset(
    {"host", "content-length", "content-type", "content-encoding", "transfer-encoding", "connection", "expect", "te"}
    | {"trailer", "upgrade", "keep-alive", "proxy-authorization", "proxy-connection", "user-agent", "accept-encoding"}
)
_ADDRESS: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?")

Url = Annotated[str, Field(min_length=1, max_length=URL_BYTES_MAX)]


class _Config(BaseModel):
    """What every kind has. `per_minute` None is the kind's own limit."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    group_wait_s: float = Field(
        0, ge=0, le=300, description="wait this long for other groups of a monitor, and tell of them in one"
    )
    per_minute: int | None = Field(
        None, ge=1, le=60_000, description="notifications a minute; those past it are told in one"
    )


class WebhookConfig(_Config):
    """POST of JSON. With a `secret` it is signed; `headers` are sent besides."""

    url: Url
    secret: Annotated[str, Field(min_length=8, max_length=256)] | None = None
    headers: dict[str, Annotated[str, Field(max_length=1024)]] | None = Field(None, max_length=20)

    @field_validator("headers")
    @classmethod
    def _are_headers(cls, value: dict[str, str] | None) -> dict[str, str] | None:
        for name, text in (value or {}).items():
            if not _HEADER_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not a header's name")
            if name.lower() in _OUR_HEADERS or name.lower().startswith("x-aegis-"):
                raise ValueError(f"{name} is not to be chosen")
            if not all(" " <= c <= "~" for c in text) or text != text.strip():
                raise ValueError(f"the value of {name} has characters other than printable ASCII")
        return value


class SlackConfig(_Config):
    """An incoming webhook of Slack, or of what understands the same."""

    url: Url


class EmailConfig(_Config):
    """Recipients; the server is the installation's."""

    to: Annotated[list[Annotated[str, Field(max_length=254)]], Field(min_length=1, max_length=RECIPIENTS_MAX)]

    @field_validator("to")
    @classmethod
    def _are_addresses(cls, value: list[str]) -> list[str]:
        for each in value:
            if not _ADDRESS.fullmatch(each) or ".." in each:
                raise ValueError(f"{each!r} is not an e-mail address")
        return value


Config = WebhookConfig | SlackConfig | EmailConfig
_MODELS: Final[dict[Kind, type[Config]]] = {"webhook": WebhookConfig, "slack": SlackConfig, "email": EmailConfig}
_PER_MINUTE: Final[dict[Kind, int]] = {"webhook": 6000, "slack": 60, "email": 30}
_AT_ONCE: Final[dict[Kind, int]] = {"webhook": 4, "slack": 1, "email": 2}
_BURST_S: Final = 10.0
_BURST_MIN: Final = 10.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How a channel is sent to: a bucket that holds `burst` and gains `per_s`, and connections at once."""

    per_s: float
    burst: float
    at_once: int
    group_wait_s: float


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel with its secrets, for sending."""

    id: str
    name: str
    config: Config = field(repr=False)

    @property
    def kind(self) -> Kind:
        """Which way it goes."""
        return next(kind for kind, model in _MODELS.items() if type(self.config) is model)

    @property
    def limits(self) -> Limits:
        """What it may be sent, and how fast."""
        per_s = (self.config.per_minute or _PER_MINUTE[self.kind]) / 60
        burst = max(per_s * _BURST_S, min(_BURST_MIN, per_s * 60))
        return Limits(per_s, burst, _AT_ONCE[self.kind], self.config.group_wait_s)


def parse_config(kind: str, config: Mapping[str, Any]) -> Config:
    """A config as given -> checked. Raises `Refused` with the path of the field at fault, never quoting a secret."""
    if kind not in KINDS:
        raise Refused(f"a kind is {', '.join(KINDS)}", code="invalid_field", path="kind")
    try:
        parsed = _MODELS[kind].model_validate(dict(config))
    except ValidationError as exc:
        first = exc.errors(include_input=False, include_url=False)[0]
        # The name of a header is the user's own text, and not one of our fields.
        parts = first["loc"][:1] if "headers" in first["loc"] else first["loc"]
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
        raise Refused(
            str(first["msg"]).removeprefix("Value error, "), code="invalid_field", path=f"config{path}"
        ) from None
    if not isinstance(parsed, EmailConfig):
        parse_url(parsed.url)
    return parsed


def without_secrets(config: Config) -> dict[str, Any]:
    """What may be stored in clear and shown; of a URL that is its `origin`."""
    shown = config.model_dump(exclude=set(_secret_names(config)), exclude_none=True)
    return shown if isinstance(config, EmailConfig) else shown | {"origin": parse_url(config.url).origin}


def with_secrets(
    channel_id: str, name: str, kind: str, shown: Mapping[str, Any], secrets: Mapping[str, Any]
) -> Channel:
    """The parts of a channel that is kept -> what can be sent to. Raises `Refused` for one that this version does not know."""
    given = {field: value for field, value in shown.items() if field != "origin"}
    return Channel(channel_id, name, parse_config(kind, {**given, **secrets}))


def secrets_of(config: Config) -> dict[str, Any]:
    """What must be sealed; empty where a kind has none."""
    return config.model_dump(include=set(_secret_names(config)), exclude_none=True)


def _secret_names(config: Config) -> tuple[str, ...]:
    return SECRETS[next(kind for kind, model in _MODELS.items() if type(config) is model)]
