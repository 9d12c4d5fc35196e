"""Only a canonical UUID opens an organization's data."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from storage.scope import OrgScope
from topics.errors import Refused

# One for all runs: the cases of a test carry it in their names, which processes that share the suite compare.
_ID = uuid.UUID("5f0e8a52-3c1d-4b7e-9a60-2d4c8e1f7b93")


def test_a_canonical_uuid_is_a_scope() -> None:
    org_id = str(_ID)
    assert OrgScope(org_id).org_id == org_id


@pytest.mark.parametrize(
    "org_id",
    [
        "",
        "acme",
        str(_ID).upper(),
        _ID.hex,
        f"{{{_ID}}}",
        f"{_ID}\n",
        f" {_ID}",
        f"{_ID}' OR '1'='1",
        "٠٠٠٠٠٠٠٠-0000-4000-8000-000000000000",
        None,
        _ID,
    ],
)
def test_anything_else_is_refused(org_id: Any) -> None:
    with pytest.raises(Refused) as caught:
        OrgScope(org_id)
    assert caught.value.path == "org_id"


def test_a_scope_cannot_be_changed() -> None:
    scope = OrgScope(str(_ID))
    with pytest.raises(AttributeError):
        scope.org_id = str(_ID)  # type: ignore[misc]  # that it fails is the test
