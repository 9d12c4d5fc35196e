"""/monitors/export and /monitors/import: monitors as YAML that people keep in a repository, with their channels by name."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

import yaml
from fastapi import APIRouter, Depends, Query, Request, Response

from monitors.definitions import AnyMonitor
from query.alerting.monitors import checked_monitor, kept_definition
from query.answers import answers, json_answer
from query.authorization import permitted
from query.tokens import Principal, Tokens
from storage.control_plane import ControlPlane
from storage.monitors import StoredMonitor
from storage.scope import OrgScope
from topics.errors import Refused, TooExpensive

IMPORTED_MAX: Final = 1000
_EXPORTED_MAX: Final = 10_000
_DEPTH_MAX: Final = 20
_EVENTS_MAX: Final = 200_000
_DONE: Final[dict[str, Any]] = {
    "dry_run": False,
    "created": ["errors of the API"],
    "updated": ["latency"],
    "unchanged": ["disk"],
}


def monitor_files_router(control_plane: ControlPlane, tokens: Tokens) -> APIRouter:
    """Files in and out."""
    router = APIRouter(prefix="/monitors", tags=["alerting"])

    may_read = Depends(permitted(tokens, "monitors:read", takes_turn=False))
    may_write = Depends(permitted(tokens, "monitors:write", takes_turn=False))

    @router.get(
        "/export",
        summary="All monitors as YAML",
        responses={200: {"content": {"application/yaml": {"example": "monitors: []\n"}}}},
        response_class=Response,
    )
    async def export_monitors(principal: Principal = may_read) -> Response:
        monitors = await control_plane.monitors.page(principal.scope, limit=_EXPORTED_MAX)
        names = {each.id: each.name for each in await control_plane.channels.list_in(principal.scope)}
        return Response(await asyncio.to_thread(_written, monitors, names), media_type="application/yaml")

    @router.post(
        "/import",
        summary="Create and change monitors by a file",
        description="YAML as of /monitors/export, at most 1 MiB and 1000 monitors: one whose name is there is replaced, others"
        " stay. Everything is checked before anything is changed; with `dry_run` nothing is. Again it changes nothing.",
        responses=answers(_DONE, 409),
        openapi_extra={
            "requestBody": {"content": {"application/yaml": {"example": "monitors: []\n"}}, "required": True}
        },
    )
    async def import_monitors(
        request: Request,
        dry_run: Annotated[bool, Query(description="say what would change, and change nothing")] = False,
        principal: Principal = may_write,
    ) -> Response:
        given = await asyncio.to_thread(read_monitor_file, await request.body())
        checked = await _checked(control_plane, principal.scope, given)
        known = {each.name: each for each in await control_plane.monitors.page(principal.scope, limit=_EXPORTED_MAX)}
        monitors = control_plane.acting(principal.actor()).monitors
        done: dict[str, list[str]] = {"created": [], "updated": [], "unchanged": []}
        for each in checked:
            fields = {"kind": each.kind, "definition": kept_definition(each), "enabled": each.enabled}
            found = known.get(each.name)
            if found is None:
                done["created"].append(each.name)
                if not dry_run:
                    await monitors.create(principal.scope, name=each.name, **fields)  # type: ignore[arg-type]  # as named above
            elif {"kind": found.kind, "definition": dict(found.definition), "enabled": found.enabled} == fields:
                done["unchanged"].append(each.name)
            else:
                done["updated"].append(each.name)
                if not dry_run:
                    await monitors.update(principal.scope, found.id, found.version, **fields)  # type: ignore[arg-type]  # as above
        return json_answer({"dry_run": dry_run, **done})

    return router


async def _checked(control_plane: ControlPlane, scope: OrgScope, given: list[Any]) -> list[AnyMonitor]:
    """Every definition. Raises `Refused` with its place in the file."""
    checked: list[AnyMonitor] = []
    names: set[str] = set()
    for i, each in enumerate(given):
        try:
            checked.append(await checked_monitor(control_plane, scope, each))
            if checked[-1].name in names:
                raise Refused("another monitor of the file has this name", code="invalid_field", path="name")
        except Refused as exc:
            path = f"monitors[{i}]{f'.{exc.path}' if exc.path else ''}"
            raise Refused(exc.reason, code=exc.code, path=path) from exc
        names.add(checked[-1].name)
    return checked


def read_monitor_file(data: bytes) -> list[Any]:
    """YAML -> the list of its monitors, values and nothing else. Raises `Refused` for anything else, and for aliases, which would
    make much of little."""
    try:
        text = data.decode()
        _check_events(text)
        document = yaml.load(text, Loader=_Loader)
    except UnicodeDecodeError as exc:
        raise Refused("cannot read the file: it is not UTF-8", code="invalid_utf8") from exc
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        mark = getattr(exc, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        what = getattr(exc, "problem", None) or "it is not YAML"
        raise Refused(f"cannot read the file: {what}{where}", code="invalid_field") from None
    monitors = document.get("monitors") if isinstance(document, dict) else None
    if not isinstance(monitors, list):
        raise Refused("a file is a mapping with a list of monitors", code="invalid_field", path="monitors")
    if unknown := sorted(str(name) for name in document if name != "monitors"):
        raise Refused("there is no such field", code="invalid_field", path=unknown[0][:100])
    if len(monitors) > IMPORTED_MAX:
        raise TooExpensive(f"{IMPORTED_MAX} monitors", f"a file of {len(monitors)}")
    return monitors


def _check_events(text: str) -> None:
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_Loader)):
        if isinstance(event, yaml.AliasEvent):
            raise Refused("cannot read the file: aliases are not taken", code="invalid_field")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEPTH_MAX or count > _EVENTS_MAX:
            raise Refused("cannot read the file: it is nested too deeply, or too long", code="invalid_field")


# The parser in C takes a tenth of the time; it is part of every wheel.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def _written(monitors: list[StoredMonitor], channels: dict[str, str]) -> bytes:
    """A file that `read_monitor_file` reads; a channel that is gone is left out."""
    shown = []
    for each in monitors:
        definition = {**each.definition}
        definition["channels"] = [channels[id_] for id_ in definition.get("channels", ()) if id_ in channels]
        head: dict[str, Any] = {"name": each.name, "kind": each.kind}
        shown.append(head | ({} if each.enabled else {"enabled": False}) | definition)
    written: bytes = yaml.dump(
        {"monitors": shown}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, encoding="utf-8"
    )
    return written
