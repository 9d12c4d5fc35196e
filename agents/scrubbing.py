"""What a normalizer needs of a scrubber (privacy/scrub.py), and the one that leaves everything as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol, TypeVar

Text = TypeVar("Text", str, bytes, "str | None")


class Scrub(Protocol):
    """Columns in, the same columns without personal data out."""

    def texts(self, column: Sequence[Text]) -> Sequence[Text]:
        """Plain text: messages, stacks, names, URLs with their parameters."""

    def json_texts(self, column: Sequence[Text]) -> Sequence[Text]:
        """Valid JSON texts, which stay valid."""


class _Unscrubbed:
    def texts(self, column: Sequence[Text]) -> Sequence[Text]:
        return column

    def json_texts(self, column: Sequence[Text]) -> Sequence[Text]:
        return column


UNSCRUBBED: Final[Scrub] = _Unscrubbed()
