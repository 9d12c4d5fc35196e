"""The commit: shares of lanes in; offsets, products, changelog rows and trimming out in one MULTI/EXEC, or nothing.

WATCH on the epoch key of every partition aborts the EXEC of a worker that no longer owns one of them. Payloads are plain
arguments of XADD, they never pass through Lua. When the reply to EXEC is lost, `resolve` finds out whether it happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from topics.errors import Unavailable
from topics.redis_streams.entries import entry_id, last_offset, offset_of
from topics.redis_streams.errors import OutcomeUnknown
from topics.redis_streams.keys import Keys
from topics.redis_streams.lane import Lane, Output, Share
from topics.redis_streams.scripts import REFENCE
from topics.redis_streams.wire import Command, ReplyError, Wire, later_or_never


@dataclass(slots=True)
class Result:
    """What became of the shares. `again` ones were neither committed nor refused; `lost` lanes must be dropped."""

    committed: list[Share] = field(default_factory=list)
    again: list[Share] = field(default_factory=list)
    lost: list[tuple[Lane, str]] = field(default_factory=list)


async def commit(wire: Wire, keys: Keys, group: str, shares: Sequence[Share]) -> Result:
    """Commit the shares together.

    Raises Unavailable when nothing was sent, and OutcomeUnknown when EXEC was sent and its reply was lost: call `resolve`
    with the same shares before committing anything else of their lanes. A full Redis (out of memory) is Unavailable too.
    """
    result = Result()
    replies = iter(_answers(await wire.call(*_look(keys, group, shares), strict=False)))
    session = wire.session
    next(replies)
    floors: list[dict[str, int]] = []
    ready: list[Share] = []
    for share in shares:
        epoch = next(replies)
        positions = {topic: positions_of(next(replies)) for topic in share.targets}
        reason = _refusal(wire, share, epoch, {topic: p.get(group, 1) for topic, p in positions.items()})
        for topic, first in _first_rows(share).items():
            info = next(replies)
            if info is not None and last_offset(info) >= first:
                # The row's number is taken: Redis would refuse it inside EXEC, and still do all the rest.
                reason = reason or f"changelog {topic} has rows that nobody here has written"
        if reason:
            result.lost.append((share.lane, reason))
        else:
            ready.append(share)
            floors.append({topic: _floor(p, group, share.targets[topic].target) for topic, p in positions.items()})
    if result.lost or not ready:
        await wire.call(("UNWATCH",))
        result.again = ready
        return result
    commands = _write(keys, group, ready, floors)
    if not await _execute(wire, commands, ready, session):
        result.again = ready
        return result
    result.committed = ready
    return result


async def resolve(wire: Wire, keys: Keys, group: str, shares: Sequence[Share]) -> Result:
    """Find out whether a transaction whose reply was lost has happened.

    The epoch is changed first: an EXEC that is still on its way aborts from then on, so the answer cannot change any more.
    Committed if the stored offsets are the ones it wanted to write, to be done again if they are the ones before it, and
    lost if they are neither or the partition has another owner. Raises Unavailable.
    """
    result = Result()
    for share in shares:
        lane = share.lane
        epoch_key = keys.epoch(group, lane.partition)
        owner = lane.epoch.partition(b":")[2]
        epoch, *stored = await wire.call(
            ("EVAL", REFENCE, 1, epoch_key, lane.epoch, owner),
            *(("HGET", keys.committed(topic, lane.partition), group) for topic in share.targets),
        )
        offsets = {topic: int(value or 1) for topic, value in zip(share.targets, stored, strict=True)}
        if not epoch:
            result.lost.append((lane, "it has another owner"))
            continue
        lane.epoch = epoch
        if wire.run_id != lane.run_id:
            result.lost.append((lane, "Redis was restarted"))
        elif all(offsets[topic] == target.target for topic, target in share.targets.items()):
            result.committed.append(share)
        elif all(offsets[topic] == target.base for topic, target in share.targets.items()):
            result.again.append(share)
        else:
            result.lost.append((lane, f"its offsets are {offsets}, which nobody here has written"))
    return result


def _look(keys: Keys, group: str, shares: Sequence[Share]) -> list[Command]:
    commands: list[Command] = [("WATCH", *(keys.epoch(group, share.lane.partition) for share in shares))]
    for share in shares:
        commands.append(("GET", keys.epoch(group, share.lane.partition)))
        commands += (("HGETALL", keys.committed(topic, share.lane.partition)) for topic in share.targets)
        commands += (("XINFO", "STREAM", keys.stream(topic, share.lane.partition)) for topic in _first_rows(share))
    return commands


def _first_rows(share: Share) -> dict[str, int]:
    """Return changelog topic -> the lowest offset that a row of the share is to get."""
    first: dict[str, int] = {}
    for row in share.rows:
        first[row.output.topic] = min(row.offset, first.get(row.output.topic, row.offset))
    return first


def _answers(replies: Sequence[Any]) -> list[Any]:
    """Raise the first error among replies; a stream that does not exist yet is no error, but None."""
    answers = [None if isinstance(reply, ReplyError) and "no such key" in str(reply) else reply for reply in replies]
    for answer in answers:
        if isinstance(answer, ReplyError):
            raise later_or_never(answer)
    return answers


def positions_of(flat: Sequence[bytes]) -> dict[str, int]:
    """Return group -> next offset, from HGETALL of the committed offsets of one topic partition."""
    return {flat[at].decode(): int(flat[at + 1]) for at in range(0, len(flat), 2)}


def _floor(positions: dict[str, int], group: str, target: int) -> int:
    """Return the lowest offset that any registered group still has to read."""
    return min([target, *(offset for name, offset in positions.items() if name != group)])


def _refusal(wire: Wire, share: Share, epoch: bytes | None, offsets: dict[str, int]) -> str:
    """Say why a share must not be committed, '' if it may."""
    if wire.run_id != share.lane.run_id:
        return "Redis was restarted"
    if epoch != share.lane.epoch:
        return "it has another owner"
    wrong = {topic: offset for topic, offset in offsets.items() if offset != share.targets[topic].base}
    return f"its offsets are {wrong}, which nobody here has written" if wrong else ""


def _write(keys: Keys, group: str, shares: Sequence[Share], floors: Sequence[dict[str, int]]) -> list[Command]:
    """Build MULTI ... EXEC. The order is the one in which `_execute` reads the replies."""
    commands: list[Command] = [("MULTI",)]
    for share in shares:
        commands += (("XADD", keys.stream(o.topic, o.partition), "0-*", *o.fields) for o in share.messages)
    for share in shares:
        for row in share.rows:
            stream = keys.stream(row.output.topic, row.output.partition)
            commands.append(("XADD", stream, entry_id(row.offset), *row.output.fields))
            if row.supersedes:
                commands.append(("XDEL", stream, *(entry_id(offset) for offset in row.supersedes)))
    for share, floor in zip(shares, floors, strict=True):
        for topic, target in share.targets.items():
            stream = keys.stream(topic, share.lane.partition)
            last = entry_id(target.target - 1)
            commands.append(("HSET", keys.committed(topic, share.lane.partition), group, target.target))
            commands.append(("XTRIM", stream, "MINID", entry_id(floor[topic])))
            commands.append(("XGROUP", "SETID", stream, group, last, "ENTRIESREAD", target.target - 1))
    commands.append(("EXEC",))
    return commands


async def _execute(wire: Wire, commands: Sequence[Command], shares: Sequence[Share], session: int) -> bool:
    """Send MULTI ... EXEC; settle the shares and return True if it happened, False if it was aborted."""
    try:
        replies = await wire.call(*commands, strict=False, session=session)
    except Unavailable as error:
        raise OutcomeUnknown(f"cannot say whether a commit happened: {error}") from error
    done = replies[-1]
    if done is None:
        return False
    if isinstance(done, ReplyError):
        first = next(reply for reply in replies if isinstance(reply, ReplyError))
        raise later_or_never(first)
    for command, reply in zip(commands[1:-1], done, strict=True):
        # A missing group costs only what Redis tooling shows; anything else would mean half a transaction.
        if isinstance(reply, ReplyError) and command[0] != "XGROUP":
            raise reply
    _finish(shares, done)
    return True


def _finish(shares: Sequence[Share], done: Sequence[Any]) -> None:
    sent = [output for share in shares for output in share.messages]
    for output, reply in zip(sent, done, strict=False):
        report(output, offset_of(reply))
    settle(shares)


def settle(shares: Sequence[Share]) -> None:
    """Let the lanes forget what was committed and tell whoever waits for a product that it is out.

    Offsets of products are not known when the reply of EXEC was lost: those get -1.
    """
    for share in shares:
        share.lane.settle(share)
        for row in share.rows:
            report(row.output, row.offset)
        for output in (*share.messages, *share.superseded):
            report(output, -1)


def report(output: Output, offset: int) -> None:
    """Tell whoever holds the future of a product where it is."""
    if output.future is not None and not output.future.done():
        output.future.place(output.topic, output.partition, offset)
