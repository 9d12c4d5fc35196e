"""The settings that an organization has of its own: a JSON object in the control plane, checked on its way in."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from privacy.policy import DEFAULT_POLICY, Policy, check_policy
from storage.query_settings import QuerySettings
from topics.errors import Refused

log = logging.getLogger(__name__)


class IngestSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How its requests are taken. None is the installation's default."""

    requests_per_minute: Annotated[int, Meta(ge=1, le=10_000_000)] | None = None
    require_signed_time: bool = False


class OrganizationSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """All of them, by what they are about."""

    ingest: IngestSettings = IngestSettings()
    privacy: Policy = DEFAULT_POLICY
    query: QuerySettings = QuerySettings()


def check_settings(settings: Mapping[str, Any]) -> OrganizationSettings:
    """Settings as they are to be stored. Raises `Refused` with the path of what is wrong, as `settings.ingest.<name>`."""
    try:
        given = dict(settings)
        checked = msgspec.convert(given, OrganizationSettings)
        check_policy(checked.privacy)
        msgspec.json.encode(given)
    except UnicodeEncodeError:
        # Half of a surrogate pair, which JSON can write and nothing can store.
        raise Refused("it is not valid Unicode", code="invalid_field", path="settings") from None
    except Refused as exc:
        raise Refused(exc.reason, code=exc.code, path=f"settings.privacy.{exc.path}") from None
    except msgspec.ValidationError as exc:
        reason, _, where = str(exc).partition(" - at `$")
        path = f"settings{where.rstrip('`')}"
        raise Refused(reason[:1].lower() + reason[1:], code="invalid_field", path=path) from None
    return checked


@lru_cache(maxsize=10_000)
def read_settings(stored: str) -> OrganizationSettings:
    """Settings as they are stored; what cannot be read, as a newer version may have written it, counts as the defaults."""
    try:
        return msgspec.json.decode(stored, type=OrganizationSettings, strict=True)
    except msgspec.MsgspecError as exc:
        log.warning("cannot read an organization's settings, the defaults hold: %s", exc)
        return OrganizationSettings()
