"""What only this transport can say: that a partition is no longer ours, or that an answer was lost."""

from __future__ import annotations

from topics.errors import AegisError, Unavailable


class Fenced(AegisError):
    """The partition is owned by somebody else now, or must be read again: drop everything held for it.

    Its messages come again, to the new owner or to this worker after the next assignment.
    """


class OutcomeUnknown(Unavailable):
    """The connection was lost after EXEC had been sent: the transaction may have happened or not."""
