"""An organization's id in, the one value that opens its data out.

Every call that reads or writes a tenant's data takes an `OrgScope`, never a bare string, so that isolation is decided in one
place and a call without it does not type-check. It is made from a verified credential, never from a request's body.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from topics.errors import Refused

_CANONICAL_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class OrgScope:
    """Whose data may be seen: one organization, named by its canonical UUID text (lower case, with hyphens).

    Raises `Refused` for any other form: the stores compare the text, and two spellings of one id would be two organizations.
    """

    org_id: str

    def __post_init__(self) -> None:
        if not isinstance(self.org_id, str) or not _CANONICAL_UUID.fullmatch(self.org_id):
            raise Refused(
                "cannot use the organization id: it is not a canonical UUID", code="bad_organization_id", path="org_id"
            )
