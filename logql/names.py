"""Names of labels: those of a stream, and how a key of an object becomes one. The same rules stand in SQL in storage/.

Where a condition stands decides which labels it sees (`sources`):

- in the braces: a stream label alone;
- before any parser: a stream label; else structured metadata, which are trace_id, span_id and the attributes;
- behind a parser: a stream label where the log has it; else what the nearest parser before it found, else the one before that;
  else structured metadata. What a parser finds under the name of a stream label that the log has is called `<name>_extracted`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

STREAM_LABELS: Final[Mapping[str, str]] = {
    "service": "service",
    "service_name": "service",
    "level": "level",
    "host": "host",
    "environment": "environment",
    "version": "version",
}
"""Label -> the field of a log that it is."""

IDS: Final = ("trace_id", "span_id")
ERROR_LABEL: Final = "__error__"
JSON_ERROR: Final = "JSONParserErr"
EXTRACTED: Final = "_extracted"

_NOT_A_LABEL: Final = re.compile(r"[^A-Za-z0-9_]")


@lru_cache(maxsize=4096)
def label_of(key: str) -> str:
    """A key as a part of a label: every character that a label may not have is an underscore."""
    return _NOT_A_LABEL.sub("_", key)


def shadowed(label: str) -> str | None:
    """`level` of `level_extracted`, the stream label behind which a parser's label was put aside; None for other names."""
    name = label.removesuffix(EXTRACTED)
    return name if name != label and name in STREAM_LABELS else None
