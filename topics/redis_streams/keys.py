"""Names of the keys: topic, partition and group in, Redis key out.

    ns:topics                topic -> number of partitions                                    hash
    ns:incarnation           id, generation, run: changes whenever offsets may mean something else   hash
    ns:removed               "topic:messages", "topic:bytes" -> what a bound has removed        hash
    ns:{p}:s:topic           the entries of one partition, ids 0-1, 0-2, ...                   stream
    ns:{p}:c:topic           group -> next offset to process; every registered group has one   hash
    ns:{p}:lease:group       owner, exp (server milliseconds)                                  hash
    ns:{p}:epoch:group       "<count>:<owner>", changes only when ownership does               string
    ns:{p}:intents:group     topic -> what a sink is about to write                            hash
    ns:{g:group}:members     member -> exp                                                     sorted set
    ns:limits:minute, ns:replays:org:ten-minutes, ns:keys:org:day    see intake_scripts.py    hashes

The partition in braces keeps what belongs to it together, should it ever be spread over servers.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one namespace; several Aegis installations may share a Redis under different ones."""

    namespace: str = "aegis"

    @property
    def topics(self) -> str:
        """Hash of topic name to number of partitions."""
        return f"{self.namespace}:topics"

    @property
    def incarnation(self) -> str:
        """Hash that names the history the offsets belong to."""
        return f"{self.namespace}:incarnation"

    @property
    def limits(self) -> str:
        """Prefix of the hashes of token buckets."""
        return f"{self.namespace}:limits:"

    @property
    def replays(self) -> str:
        """Prefix of the hashes of request identities."""
        return f"{self.namespace}:replays:"

    @property
    def idempotency(self) -> str:
        """Prefix of the hashes of idempotency keys."""
        return f"{self.namespace}:keys:"

    @property
    def removed(self) -> str:
        """Hash of what was removed to keep a bound."""
        return f"{self.namespace}:removed"

    def stream(self, topic: str, partition: int) -> str:
        """Stream that holds the entries of one topic partition."""
        return f"{self.namespace}:{{{partition}}}:s:{topic}"

    def committed(self, topic: str, partition: int) -> str:
        """Hash of group to the next offset it will process."""
        return f"{self.namespace}:{{{partition}}}:c:{topic}"

    def lease(self, group: str, partition: int) -> str:
        """Hash of the current owner and when its lease ends."""
        return f"{self.namespace}:{{{partition}}}:lease:{group}"

    def epoch(self, group: str, partition: int) -> str:
        """String that changes with the owner and with nothing else: what a commit watches."""
        return f"{self.namespace}:{{{partition}}}:epoch:{group}"

    def intents(self, group: str, partition: int) -> str:
        """Hash of topic to the open insert intent of a sink."""
        return f"{self.namespace}:{{{partition}}}:intents:{group}"

    def members(self, group: str) -> str:
        """Sorted set of the living members of a group."""
        return f"{self.namespace}:{{g:{group}}}:members"
