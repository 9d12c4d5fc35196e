"""Attributes as JSON text -> the same text with what the address and the user agent in it tell, as members at its end.

Nothing that was sent is rewritten: members are put before the closing brace, and one that the sender gave is left alone. Records
that hold neither attribute are mostly told apart by one scan of the column, and not decoded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from enrichment.locations import Location, Locations
from enrichment.remembered import Remembered
from enrichment.user_agents import NOBODY, USER_AGENT_MAX, UserAgents

LOCATION_MEMBERS: Final = tuple(f"geo.{field}" for field in Location._fields)
USER_AGENT_MEMBERS: Final = tuple(f"user_agent.{field}" for field in NOBODY._fields)

_GENERATION: Final = 20_000
_encode = msgspec.json.encode


class Enrichment:
    """What is known of clients. `address_names` and `user_agent_names` are the attributes that hold one, the first that is a
    text counts; no name may hold a quote, a backslash or a control character."""

    def __init__(
        self,
        locations: Locations,
        user_agents: UserAgents,
        *,
        address_names: Sequence[str] = (),
        user_agent_names: Sequence[str] = (),
    ) -> None:
        self.locations = locations
        self.user_agents = user_agents
        self._quoted = [_encode(name) for name in (*address_names, *user_agent_names)]
        self._pattern = "|".join(re.escape(name.decode()) for name in self._quoted)
        names = dict.fromkeys((*address_names, *user_agent_names))
        fields = {name: f"given{i}" for i, name in enumerate(names)}
        struct = msgspec.defstruct(
            "_Given",
            [(field, Any, None) for field in fields.values()],
            rename={v: k for k, v in fields.items()},
            gc=False,
        )
        self._decoder = msgspec.json.Decoder(struct)
        self._addresses = _getter([fields[name] for name in address_names])
        self._agents = _getter([fields[name] for name in user_agent_names])
        self._location_texts = Remembered(self._location_text, generation=_GENERATION)
        self._agent_texts = Remembered(self._agent_text, generation=_GENERATION)
        self._located_by: object = None

    def enrich(self, texts: list[bytes]) -> list[bytes]:
        """Each of `texts`, a JSON object, with the members that it lacks: the same list where there is nothing to add."""
        if not self._pattern or not texts:
            return texts
        self.refresh()
        places = self._places(texts)
        if not len(places):
            return texts
        joined = b"".join(texts)
        enriched = texts.copy()
        if b'"geo.' in joined or b'"user_agent.' in joined:
            for i in places:
                enriched[i] = self._with_lacking(texts[i])
        else:
            self._add(enriched, places)
        return enriched

    def _places(self, texts: list[bytes]) -> Sequence[int]:
        """Which texts to look into: those that hold a name, by a scan of all; all, where the first one does, as most will."""
        first = texts[0]
        if any(name in first for name in self._quoted):
            return range(len(texts))
        found = pc.match_substring_regex(pa.array(texts, pa.binary()), pattern=self._pattern)
        places: list[int] = pc.indices_nonzero(found).to_numpy().tolist()
        return places

    def refresh(self) -> None:
        """Look whether the databases have changed; call it for each batch."""
        self.locations.refresh()
        if self.locations.version != self._located_by:
            self._located_by = self.locations.version
            self._location_texts.forget()

    def _add(self, enriched: list[bytes], places: Sequence[int]) -> None:
        """Enrich records that have none of the members. Written out, since it runs for each: calls would double its cost."""
        decode, addresses_of, agents_of = self._decoder.decode, self._addresses, self._agents
        locations, clients = self._location_texts.recent, self._agent_texts.recent
        for i in places:
            text = enriched[i]
            try:
                given = decode(text)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue  # As it came: what the store makes of it is not this one's to decide.
            location = client = b""
            for address in addresses_of(given):
                if address and type(address) is str:
                    location = locations.get(address) or self._location_texts(address)
                    break
            for agent in agents_of(given):
                if agent and type(agent) is str:
                    client = clients.get(agent) or self._agent_texts(agent[:USER_AGENT_MAX])
                    break
            if location or client:
                enriched[i] = b"".join((text[:-1], location, client, b"}"))

    def _with_lacking(self, text: bytes) -> bytes:
        """One record that may have some of the members already, with the others."""
        try:
            given = self._decoder.decode(text)
            present = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        except (msgspec.DecodeError, UnicodeDecodeError):
            return text
        members: dict[str, Any] = {}
        if address := _first_text(self._addresses(given)):
            members |= zip(LOCATION_MEMBERS, self.locations.of(address), strict=True)
        if agent := _first_text(self._agents(given)):
            members |= zip(USER_AGENT_MEMBERS, self.user_agents.of(agent), strict=True)
        return append_members(text, {name: members[name] for name in members if name not in present})

    def _location_text(self, address: str) -> bytes:
        return _members_text(dict(zip(LOCATION_MEMBERS, self.locations.of(address), strict=True)))

    def _agent_text(self, agent: str) -> bytes:
        return _members_text(dict(zip(USER_AGENT_MEMBERS, self.user_agents.of(agent), strict=True)))


def append_members(text: bytes, members: Mapping[str, Any]) -> bytes:
    """A JSON object, without space around it, with more members at its end, none of which it may have already.

    Those that are "" or None are left out.
    """
    added = _members_text(members)
    if not added:
        return text
    head = text[:-1].rstrip()
    return head + (added[1:] if head == b"{" else added) + b"}"


def _members_text(members: Mapping[str, Any]) -> bytes:
    """Members as JSON text with a comma before each; those that are "" or None are left out."""
    text = _encode({name: value for name, value in members.items() if value is not None and value != ""})
    return b"," + text[1:-1] if len(text) > 2 else b""


def _getter(fields: Sequence[str]) -> Callable[[Any], Sequence[Any]]:
    """Some fields of a Struct, as a sequence."""
    if not fields:
        return lambda given: ()
    get = attrgetter(*fields)
    return get if len(fields) > 1 else lambda given: (get(given),)


def _first_text(values: Sequence[Any]) -> str:
    """The first text that is not empty, or ""."""
    for value in values:
        if value and type(value) is str:
            return value
    return ""
