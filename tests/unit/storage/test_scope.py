"""Only a canonical UUID opens an organization's data."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from storage.scope import OrgScope
from topics.errors import Refused


def test_a_canonical_uuid_is_a_scope() -> None:
    org_id = str(uuid.uuid4())
    assert OrgScope(org_id).org_id == org_id


@pytest.mark.parametrize(
    "org_id",
    [
        "",
        "acme",
        str(uuid.uuid4()).upper(),
        uuid.uuid4().hex,
        f"{{{uuid.uuid4()}}}",
        f"{uuid.uuid4()}\n",
        f" {uuid.uuid4()}",
        f"{uuid.uuid4()}' OR '1'='1",
        "٠٠٠٠٠٠٠٠-0000-4000-8000-000000000000",
        None,
        uuid.uuid4(),
    ],
)
def test_anything_else_is_refused(org_id: Any) -> None:
    with pytest.raises(Refused) as caught:
        OrgScope(org_id)
    assert caught.value.path == "org_id"


def test_a_scope_cannot_be_changed() -> None:
    scope = OrgScope(str(uuid.uuid4()))
    with pytest.raises(AttributeError):
        scope.org_id = str(uuid.uuid4())  # type: ignore[misc]  # that it fails is the test
