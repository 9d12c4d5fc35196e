"""Conditions on labels in; the series of one organization that meet them, from the dictionary of series, out."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg
import msgspec
import numpy as np

from storage.metric_selection import LabelMatcher
from storage.named_queries import load_queries
from storage.postgres import postgres_errors
from storage.scope import OrgScope
from storage.selection_memory import SelectedSeries
from storage.series_selection import NAME, BoundMatchers
from topics.errors import TooExpensive

SERIES_MAX = 50_000
"""Series that one question may read."""
# Of those that RE2 has to look at, which may be far more than it takes.
_CANDIDATES_MAX = 4 * SERIES_MAX

_SQL = load_queries("metrics.sql")
_OF_NAMES = _SQL["find_series"]
# A statement of its own, so that PostgreSQL plans it for the index of labels.
_OF_ANY_NAME = _OF_NAMES.replace("name = ANY ($2::text[])", "$2::text[] IS NULL")
_LABELS = msgspec.json.Decoder(dict[str, str])


async def find_series(
    pool: asyncpg.Pool,
    scope: OrgScope,
    matchers: Sequence[LabelMatcher],
    *,
    series_max: int = SERIES_MAX,
    known: SelectedSeries | None = None,
) -> SelectedSeries:
    """Every series that meets all matchers, whether or not it has samples; a label that a series lacks is the empty text.

    `known` is what was found before, and only what is newer is looked for. Raises `Refused` for a pattern that is none,
    `TooExpensive` for more than `series_max` series, `Unavailable`.
    """
    bound = BoundMatchers.of(matchers)
    last = int(known.ids[-1]) if known is not None and len(known.ids) else 0
    found_max = _CANDIDATES_MAX if bound.left else series_max
    sql = _OF_ANY_NAME if bound.names is None else _OF_NAMES
    with postgres_errors("find series"):
        rows = await pool.fetch(sql, scope.org_id, bound.names, *bound.values(), found_max + 1, last)
    if len(rows) > found_max:
        raise TooExpensive(f"{found_max} series", "a selection of more")
    labels = [{NAME: name, **_LABELS.decode(text)} for _, name, text in rows]
    ids = np.fromiter((row[0] for row in rows), np.int32, len(rows))
    if bound.left:
        kept = [bound.meets(each) for each in labels]
        labels = [each for each, is_kept in zip(labels, kept, strict=True) if is_kept]
        ids = ids[np.array(kept, bool)]
    if known is not None:
        if not labels:
            return known
        labels, ids = known.labels + labels, np.concatenate((known.ids, ids))
    if len(labels) > series_max:
        raise TooExpensive(f"{series_max} series", f"a selection of {len(labels)}")
    return SelectedSeries(ids, labels)
