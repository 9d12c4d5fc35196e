"""What only this transport can say: that a partition is no longer ours, or that an answer was lost."""

from __future__ import annotations

from topics.errors import Unavailable
from topics.ledger import PartitionLost


class Fenced(PartitionLost):
    """Redis refused a write, because the epoch of the partition is not the one that this worker owns it under."""


class OutcomeUnknown(Unavailable):
    """The connection was lost after EXEC had been sent: the transaction may have happened or not."""
