"""An Accept header in; which of two forms of an answer it prefers, out (RFC 9110 section 12.5.1)."""

from __future__ import annotations

from collections.abc import Sequence


def prefers(accept: str | None, media: str, *, at_par: bool = False) -> bool:
    """Whether `media`, a type that has to be named, is asked for rather than JSON, which everything else gets; `at_par` says that
    it is also the answer for who likes both as much."""
    weights = {media: 0.0, "application/json": 0.0}
    for part in (accept or "").split(","):
        named, *parameters = (text.strip().lower() for text in part.split(";"))
        if named in weights:
            weights[named] = max(weights[named], _weight(parameters))
    least = weights["application/json"]
    return weights[media] > least or (at_par and weights[media] == least > 0)


def _weight(parameters: Sequence[str]) -> float:
    given = next((text[2:] for text in parameters if text.startswith("q=")), "1")
    try:
        return min(max(float(given), 0.0), 1.0)
    except ValueError:
        return 0.0
