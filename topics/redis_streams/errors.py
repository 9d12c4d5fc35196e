"""What only this transport can say: that a partition is no longer ours, or that an answer was lost."""

from __future__ import annotations

from topics.errors import Unavailable
from topics.ledger import PartitionLost


class Fenced(PartitionLost):
    """Redis refused a write, because the epoch of the partition is not the one that this worker owns it under."""


class OutcomeUnknown(Unavailable):
    """A command was sent and the connection was lost before its answer: whether Redis ran it is not known."""
