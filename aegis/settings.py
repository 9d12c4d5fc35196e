"""Every setting of Aegis: environment, `.env` and the running instance's own file -> one frozen object.

The only module that reads the environment. Order, first wins: environment variables; `.env` in the working folder;
`<data dir>/instance.env`, which `aegis up` writes so that commands beside it find its ports and secrets; the defaults below.

Names of the original system (DATABASE_URL, CLICKHOUSE_HOST, REDIS_PORT, JWT_SECRET, ...) are honoured as they are;
everything else is AEGIS_<NAME>. `docs/settings.md` lists them, and a test compares the two.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from channels.destinations import parse_networks
from storage.query_settings import QuerySettings, read_query_settings
from topics.errors import Refused

INSTANCE_FILE = "instance.env"

_NAMES = r'^[^"\\\x00-\x1f]*$'  # of attributes, by commas


def _named(*names: str) -> AliasChoices:
    return AliasChoices(*names)


class Settings(BaseSettings):
    """All settings, validated. Durations end in `_s` (seconds), sizes in `_bytes`."""

    model_config = SettingsConfigDict(env_prefix="AEGIS_", extra="ignore", frozen=True, populate_by_name=True)

    # Where things live.
    data_dir: Path = Field(Path(".aegis"), description="folder of the embedded services' data and of run-time files")
    host: str = Field("127.0.0.1", description="address that HTTP servers listen on")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        3000, description="HTTP port of the gateway, or of everything in `aegis up`"
    )
    query_port: Annotated[int, Field(ge=0, le=65535)] = Field(3001, description="HTTP port of `aegis query` on its own")
    worker_port: Annotated[int, Field(ge=0, le=65535)] = Field(
        3002, description="port of the worker's /health and /metrics"
    )
    worker_processes: Annotated[int, Field(ge=1, le=64)] = Field(
        1, description="processes that one `aegis worker` runs; they serve on the ports from AEGIS_WORKER_PORT on"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="how much the processes say on standard error"
    )

    # The transport.
    transport: SecretStr | None = Field(
        None, description="redis://host:port/db; by default made of REDIS_HOST and REDIS_PORT"
    )
    redis_host: str = Field("127.0.0.1", validation_alias=_named("REDIS_HOST"), description="Redis host")
    redis_port: int = Field(6379, validation_alias=_named("REDIS_PORT"), ge=1, le=65535, description="Redis port")
    redis_maxmemory_bytes: int = Field(
        1 << 30, ge=64 << 20, description="memory bound of the embedded Redis (noeviction)"
    )
    redis_appendfsync: Literal["always", "everysec"] = Field(
        "always",
        description="embedded Redis: `always` keeps every answer; `everysec` may lose the last two seconds of a killed Redis",
    )
    partitions: int = Field(4, ge=1, le=256, description="partitions of a topic that is created now")
    lease_s: float = Field(4.0, ge=1.0, le=60.0, description="how long a silent worker keeps its partitions")
    commit_interval_s: float = Field(0.03, ge=0.005, le=5.0, description="how soon finished work is committed")

    # The stores.
    database_url: SecretStr = Field(
        SecretStr("postgresql://aegis@127.0.0.1:5432/aegis"),
        validation_alias=_named("DATABASE_URL"),
        description="control-plane PostgreSQL",
    )
    postgres_port: int = Field(
        5432, ge=1, le=65535, description="port of the PostgreSQL that `aegis up` starts, a near one when it is taken"
    )
    database_listen_url: SecretStr | None = Field(
        None, description="the same for LISTEN, which needs a direct connection; by default DATABASE_URL"
    )
    database_statement_cache: bool = Field(
        True, description="`false` when DATABASE_URL leads through pgbouncer in transaction mode"
    )
    clickhouse_host: str = Field(
        "127.0.0.1", validation_alias=_named("CLICKHOUSE_HOST"), description="ClickHouse host, or http://host:port"
    )
    clickhouse_port: int = Field(
        8123, validation_alias=_named("CLICKHOUSE_PORT"), ge=1, le=65535, description="ClickHouse HTTP port"
    )
    clickhouse_database: str = Field(
        "aegis",
        validation_alias=_named("CLICKHOUSE_DATABASE"),
        pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$",
        description="ClickHouse database",
    )
    clickhouse_user: str = Field("default", validation_alias=_named("CLICKHOUSE_USER"), description="ClickHouse user")
    clickhouse_password: SecretStr = Field(
        SecretStr(""), validation_alias=_named("CLICKHOUSE_PASSWORD"), description="ClickHouse password"
    )
    timescale_host: str = Field("127.0.0.1", validation_alias=_named("TIMESCALE_HOST"), description="TimescaleDB host")
    timescale_port: int = Field(
        5433, validation_alias=_named("TIMESCALE_PORT"), ge=1, le=65535, description="TimescaleDB port"
    )
    timescale_database: str = Field(
        "aegis", validation_alias=_named("TIMESCALE_DATABASE"), description="TimescaleDB database"
    )
    timescale_user: str = Field("aegis", validation_alias=_named("TIMESCALE_USER"), description="TimescaleDB user")
    timescale_password: SecretStr = Field(
        SecretStr(""), validation_alias=_named("TIMESCALE_PASSWORD"), description="TimescaleDB password"
    )
    timescale_statement_cache: bool = Field(
        True, description="prepared statements are kept; `false` for metrics behind pgbouncer in transaction mode"
    )
    series_max: int = Field(100_000, ge=1, le=2_000_000_000, description="series that an organization may have")
    metrics_cache_bytes: int = Field(
        256 << 20, ge=0, description="samples that a process that answers queries keeps in memory; 0 keeps none"
    )
    retention: Literal["on", "off"] = Field("on", description="`off` switches deletion by age off, for tests")

    # Secrets.
    jwt_secret: SecretStr | None = Field(
        None, validation_alias=_named("JWT_SECRET"), description="signs the query API's tokens, 32 bytes or more"
    )
    jwt_algorithm: Literal["HS256", "RS256", "EdDSA"] = Field(
        "HS256", description="of the tokens: HS256 by JWT_SECRET, RS256 or EdDSA (Ed25519) by key files"
    )
    jwt_private_key_file: Path | None = Field(
        None, description="PEM file of the private key that issues and checks tokens, for RS256 and EdDSA"
    )
    jwt_public_key_file: Path | None = Field(
        None, description="PEM file of its public key; alone it checks tokens and issues none"
    )
    access_token_s: int = Field(900, ge=60, le=86_400, description="how long the access token of a login is valid")
    refresh_token_s: int = Field(
        30 * 86_400, ge=3600, le=366 * 86_400, description="how long a login lasts that is not refreshed"
    )
    audit_days: int = Field(365, ge=1, le=36_500, description="how long the audit log keeps an entry")
    audit_rows_max: int = Field(
        100_000, ge=100, le=100_000_000, description="entries that the audit log keeps of one organization"
    )
    master_key: SecretStr | None = Field(
        None, description="64 hex digits; encrypts the secrets of API keys in the control plane"
    )

    # The gateway.
    timestamp_window_s: int = Field(300, ge=1, le=3600, description="how far x-timestamp may be off, either way")
    body_bytes_max: int = Field(5 << 20, ge=1024, le=64 << 20, description="largest request body, as sent")
    decoded_bytes_max: int = Field(
        20 << 20, ge=1024, le=256 << 20, description="largest request body after decompression"
    )
    rate_limit_organization: int = Field(
        10_000, ge=1, le=10_000_000, description="requests a minute of one organization, unless it has its own limit"
    )
    rate_limit_address: int = Field(
        1_000, ge=1, le=10_000_000, description="requests a minute from one IP address (IPv6: from one /64 network)"
    )
    idempotency_keys_max: int = Field(
        500_000,
        ge=1,
        le=100_000_000,
        description="idempotency keys remembered for one organization, about 110 bytes each",
    )
    trusted_proxies: str = Field(
        "", description="addresses or networks, by commas, whose X-Forwarded-For says who the client is"
    )
    gateway_processes: int = Field(1, ge=1, le=64, description="processes that one `aegis gateway` runs, on one port")
    gateway_own_port: Annotated[int, Field(ge=0, le=65535)] = Field(
        3100,
        description="with several processes: each serves its own /health and /metrics, on the ports from this one on",
    )
    drain_s: float = Field(
        0.5,
        ge=0.0,
        le=120.0,
        description="how long a gateway that is told to stop goes on taking requests while /ready says 503 already",
    )
    stream_bytes_max: int = Field(
        256 << 20, ge=1 << 20, description="bytes that may wait on one topic before the gateway answers 503"
    )
    key_refresh_s: float = Field(
        1.5,
        ge=0.1,
        le=60.0,
        description="how often API keys, members and API tokens are reread, besides at once when they change",
    )

    # The query API.
    query_limits: str = Field(
        "{}",
        description='what questions may cost, by role, as JSON: {"viewer": {"seconds": 10}}; see "Limits of questions" below',
    )

    # The agents.
    normalizer_enabled: bool = Field(
        True, validation_alias=_named("NORMALIZER_ENABLED"), description="whether workers run the normalize agents"
    )
    geoip_database: Path | None = Field(
        None, description="city database (.mmdb), or a folder of them; by default the folder `geoip` in AEGIS_DATA_DIR"
    )
    geoip_attributes: str = Field(
        "client.address,client.ip,client_ip,http.client_ip,network.client.ip",
        pattern=_NAMES,
        description="attributes of logs and spans, by commas, that hold a client's address; the first that does counts",
    )
    user_agent_attributes: str = Field(
        "user_agent.original,http.user_agent,user_agent",
        pattern=_NAMES,
        description="attributes of logs and spans, by commas, that hold a user agent; the first that does counts",
    )
    dead_letters_bytes_max: int = Field(
        128 << 20,
        ge=0,
        description="bytes of dead letters that are kept; past it the oldest are removed and counted; 0 removes none",
    )
    block_rows_max: int = Field(50_000, ge=1, le=1_000_000, description="rows of one ClickHouse block")
    block_bytes_max: int = Field(
        64 << 20, ge=1 << 20, le=1 << 30, description="bytes of one ClickHouse block, as columns in memory"
    )
    block_age_s: float = Field(0.5, ge=0.01, le=30.0, description="longest that a row waits for its block to fill")

    # Notifications.
    public_url: str = Field(
        "",
        pattern=r"^(https?://[^\s]+)?$",
        description="where people reach this installation: links of notifications begin with it",
    )
    channel_networks: str = Field(
        "",
        description="networks, by commas, that webhooks may lead into although they are not public",
    )
    smtp_host: str | None = Field(None, description="mail server of e-mail channels; without it none is sent")
    smtp_port: int = Field(587, ge=1, le=65535, description="its port")
    smtp_tls: Literal["tls", "starttls", "none"] = Field(
        "starttls", description="`tls` from the first byte on, `starttls`, or `none`"
    )
    smtp_user: str = Field("", description="login at the mail server, empty for none")
    smtp_password: SecretStr = Field(SecretStr(""), description="its password")
    smtp_from: str = Field(
        "Aegis <aegis@localhost>", min_length=3, max_length=254, pattern=_NAMES, description="sender of e-mails"
    )

    @field_validator("channel_networks")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        parse_networks(value)
        return value

    @field_validator("master_key")
    @classmethod
    def _is_hex_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            text = value.get_secret_value()
            if len(text) != 64 or any(c not in "0123456789abcdefABCDEF" for c in text):
                raise ValueError("must be 64 hex digits (32 bytes); make one with `openssl rand -hex 32`")
        return value

    @field_validator("jwt_secret")
    @classmethod
    def _is_long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value().encode()) < 32:
            raise ValueError("must be 32 bytes or more; make one with `openssl rand -hex 32`")
        return value

    @field_validator("query_limits")
    @classmethod
    def _are_limits(cls, value: str) -> str:
        read_query_settings(value)
        return value

    @field_validator("transport")
    @classmethod
    def _is_redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith("redis://"):
            raise ValueError("must start with redis:// (the Kafka transport is not part of this version)")
        return value

    @property
    def geoip_path(self) -> Path:
        """Where city databases are: a file or a folder."""
        return self.geoip_database or self.data_dir / "geoip"

    @property
    def query_settings(self) -> QuerySettings:
        """The installation's limits of questions."""
        return read_query_settings(self.query_limits)

    @property
    def listen_url(self) -> str:
        """Where changes of the control plane are heard, password included."""
        return (self.database_listen_url or self.database_url).get_secret_value()

    @property
    def statement_cache_size(self) -> int:
        """Prepared statements that a pooled connection to the control plane keeps."""
        return 100 if self.database_statement_cache else 0

    @property
    def transport_url(self) -> str:
        """Where topics live, as one URL, password included."""
        if self.transport is not None:
            return self.transport.get_secret_value()
        return f"redis://{self.redis_host}:{self.redis_port}/0"

    @property
    def transport_address(self) -> str:
        """The same without user and password, to be shown."""
        url = urlsplit(self.transport_url)
        return f"redis://{url.hostname}:{url.port or 6379}{url.path}"


def load_settings(
    data_dir: Path | None = None, options: Mapping[str, Any] | None = None, *, beside_instance: bool = True
) -> Settings:
    """Read the settings; `data_dir` and `options` (from the command line, by field name) win over everything.

    Without `beside_instance` the running instance's own file is left out, which is for `aegis up` itself.

    Raises `Refused` naming each setting that is not acceptable and why.
    """
    given = dict(options or {})
    if data_dir is not None:
        given["data_dir"] = data_dir
    try:
        folder = data_dir or Settings(_env_file=".env").data_dir  # type: ignore[call-arg]  # pydantic-settings' own option
        files = (folder / INSTANCE_FILE, ".env") if beside_instance else (".env",)
        return Settings(_env_file=files, **given)  # type: ignore[call-arg]  # as above
    except ValidationError as exc:
        lines = [f"{setting_name(str(e['loc'][0]))}: {e['msg']}" for e in exc.errors()]
        raise Refused("cannot start: " + "; ".join(lines), code="bad_setting") from exc


def environment() -> dict[str, str]:
    """A copy of this process's environment, for the children that `aegis up` starts."""
    return dict(os.environ)


def setting_name(field: str) -> str:
    """The environment variable of a field: `master_key` -> AEGIS_MASTER_KEY, `jwt_secret` -> JWT_SECRET."""
    known = Settings.model_fields.get(field)
    if known is not None and isinstance(known.validation_alias, AliasChoices):
        return str(known.validation_alias.choices[0])
    return field if field.isupper() else f"AEGIS_{field.upper()}"


def as_environment(values: Mapping[str, Any]) -> dict[str, str]:
    """Fields and values -> environment variables, secrets in clear."""
    return {
        setting_name(field): str(value.get_secret_value() if isinstance(value, SecretStr) else value)
        for field, value in values.items()
    }
