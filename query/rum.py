"""POST /query/rum/search: a selection of one organization's RUM events -> a page of them, newest first unless asked otherwise."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from query.answers import BODY, STATS_EXAMPLE, answers, json_answer, shown_stats
from query.authorization import permitted
from query.stored_json import shown_json
from query.time_ranges import END, START, read_range
from query.tokens import Principal, Tokens
from storage.record_selection import LIMIT_MAX, TEXT_CHARACTERS_MAX
from storage.rum import RumRow, RumSelection, RumStore
from topics.errors import Refused
from topics.timestamps import format_timestamp

LIMIT_DEFAULT: Final = 100

_EXAMPLE: JsonDict = {
    "start": "2025-10-31T00:00:00Z",
    "end": "2025-10-31T23:59:59Z",
    "type": "web_vital",
    "page_path": "/checkout",
    "limit": 100,
}
_ANSWER: Final[dict[str, Any]] = {
    "events": [
        {
            "id": "8423011950823473153",
            "timestamp": "2025-10-31T10:00:00.000Z",
            "type": "error",
            "session_id": "5f1c9e",
            "view_id": "v1",
            "page_url": "https://shop.example/checkout",
            "page_path": "/checkout",
            "user_id": "u-17",
            "name": "pay",
            "value": 0.0,
            "error": {"type": "TypeError", "message": "x is undefined", "stack": "at pay (cart.js:7)"},
            "location": {
                "country": "NO",
                "region": "Oslo",
                "city": "Oslo",
                "timezone": "Europe/Oslo",
                "latitude": 59.9,
                "longitude": 10.7,
            },
            "browser": "Firefox",
            "browser_version": "140",
            "os": "Linux",
            "device_type": "desktop",
            "is_bot": False,
            "client": {"screen": "1920x1080"},
            "attributes": {},
        }
    ],
    "next_cursor": "ARhz9Z0pQAAAdOTx0R6qjwE",
    "stats": STATS_EXAMPLE,
}


Text = Annotated[str, Field(min_length=1, max_length=200)]
Value = Annotated[float, Field(allow_inf_nan=False)]


class RumSearch(BaseModel):
    """What to look for. Every condition that is given must hold."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [_EXAMPLE]})

    start: str | int | float = Field(description=START)
    end: str | int | float = Field(description=END)
    type: Text | None = Field(None, description="exact type: page_view, web_vital, error, action, resource, long_task")
    page_path: Annotated[str, Field(min_length=1, max_length=TEXT_CHARACTERS_MAX)] | None = Field(
        None, description="exact path of the page"
    )
    session_id: Text | None = Field(None, description="exact session")
    view_id: Text | None = Field(None, description="exact view: one page of a session")
    user_id: Text | None = Field(None, description="exact user, as it is stored (an organization may keep hashes)")
    name: Annotated[str, Field(min_length=1, max_length=TEXT_CHARACTERS_MAX)] | None = Field(
        None, description="exact name of an action, a resource or a web vital: LCP"
    )
    error_type: Text | None = Field(None, description="exact type of an error: TypeError")
    country: Text | None = Field(None, description="exact country code: NO")
    browser: Text | None = Field(None, description="exact browser: Firefox")
    os: Text | None = Field(None, description="exact operating system")
    device_type: Text | None = Field(None, description="exact kind of device: desktop, mobile, tablet")
    is_bot: bool | None = Field(None, description="whether the user agent is a robot's")
    min_value: Value | None = Field(None, description="of the event's value, included; ms for durations")
    max_value: Value | None = Field(None, description="of the event's value, included")
    search: Annotated[str, Field(min_length=1, max_length=TEXT_CHARACTERS_MAX)] | None = Field(
        None,
        description="text in the error's message, the name or the page's address, in any case; % and _ mean themselves",
    )
    order: Literal["newest", "oldest"] = Field("newest", description="by timestamp")
    limit: int = Field(LIMIT_DEFAULT, ge=1, le=LIMIT_MAX, description="events on one page")
    cursor: Annotated[str, Field(max_length=200)] | None = Field(
        None, description="`next_cursor` of the page before, with the same conditions"
    )

    def selection(self) -> RumSelection:
        """The store's form of it. Raises `Refused` with the path of the field at fault."""
        start, end = read_range(self.start, self.end)
        if self.min_value is not None and self.max_value is not None and self.max_value < self.min_value:
            raise Refused("must not be below min_value", code="invalid_field", path="max_value")
        return RumSelection(
            start_ns=start,
            end_ns=end,
            type=self.type,
            page_path=self.page_path,
            session_id=self.session_id,
            view_id=self.view_id,
            user_id=self.user_id,
            name=self.name,
            error_type=self.error_type,
            country=self.country,
            browser=self.browser,
            os=self.os,
            device_type=self.device_type,
            is_bot=self.is_bot,
            value_min=self.min_value,
            value_max=self.max_value,
            search=self.search,
            order=self.order,
            limit=self.limit,
            cursor=self.cursor,
        )


def rum_router(rum: RumStore, tokens: Tokens) -> APIRouter:
    """The questions about RUM events."""
    router = APIRouter(prefix="/query/rum", tags=["rum"])

    may_read = Depends(permitted(tokens, "rum:read"))

    @router.post(
        "/search",
        summary="Search RUM events",
        response_description="`{events, next_cursor, stats}`",
        responses=answers(_ANSWER, *BODY),
    )
    async def search_rum(search: RumSearch, principal: Principal = may_read) -> Response:
        page = await rum.search(principal.scope, search.selection(), principal.limits)
        answer = {
            "events": [_shown(row) for row in page.rows],
            "next_cursor": page.next_cursor,
            "stats": shown_stats(page.stats),
        }
        return json_answer(answer)

    return router


def _shown(row: RumRow) -> dict[str, Any]:
    """One event as the API shows it; `client` and attributes go out as the JSON texts that they are stored as."""
    error = {"type": row.error_type or None, "message": row.error_message or None, "stack": row.error_stack or None}
    return {
        "id": str(row.record_id),
        "timestamp": format_timestamp(row.ts_ns),
        "type": row.type,
        "session_id": row.session_id,
        "view_id": row.view_id or None,
        "page_url": row.page_url or None,
        "page_path": row.page_path or None,
        "user_id": row.user_id or None,
        "name": row.name or None,
        "value": row.value,
        "error": error if any(error.values()) else None,
        "location": {
            "country": row.country or None,
            "region": row.region or None,
            "city": row.city or None,
            "timezone": row.timezone or None,
            "latitude": row.latitude,
            "longitude": row.longitude,
        },
        "browser": row.browser or None,
        "browser_version": row.browser_version or None,
        "os": row.os or None,
        "device_type": row.device_type or None,
        "is_bot": bool(row.is_bot),
        "client": shown_json(row.client),
        "attributes": shown_json(row.attributes),
    }
