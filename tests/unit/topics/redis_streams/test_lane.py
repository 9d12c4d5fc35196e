"""What one owned partition may commit: in order of delivery, whatever the order of acknowledgement."""

from __future__ import annotations

import pytest

from topics.redis_streams.lane import Changelog, Lane, Track


def lane_with(*offsets: int, committed: int = 1) -> Lane:
    lane = Lane(0, b"1:me", "run")
    lane.tracks["a"] = track = Track(committed)
    for offset in offsets:
        track.deliver(offset, 100)
    return lane


def committed_after(lane: Lane, *acked: int) -> int:
    lane.tracks["a"].acked.update(acked)
    share = lane.share(1 << 20)
    if share is not None:
        lane.settle(share)
    return lane.tracks["a"].committed


@pytest.mark.parametrize(
    ("acked", "next_offset"),
    [((), 1), ((2,), 1), ((2, 3), 1), ((1,), 2), ((1, 3), 2), ((3, 2, 1), 4), ((1, 2, 3, 4), 5)],
)
def test_trap_03_offsets_are_committed_only_behind_the_first_unacknowledged(
    acked: tuple[int, ...], next_offset: int
) -> None:
    """Faust's `_new_offset` is off by one: with 2..40 acknowledged it committed 41 while message 1 still ran."""
    assert committed_after(lane_with(1, 2, 3, 4), *acked) == next_offset


def test_acknowledging_the_missing_one_commits_all_behind_it() -> None:
    lane = lane_with(*range(1, 41))
    assert committed_after(lane, *range(2, 41)) == 1
    assert committed_after(lane, 1) == 41
    assert lane.clean
    assert lane.tracks["a"].acked == set()
    assert lane.tracks["a"].pending_bytes == 0


def test_trap_03_a_gap_in_offsets_does_not_count_the_message_behind_it() -> None:
    """Faust's `_add_gap` marks the message that ends a gap as processed."""
    lane = lane_with(1, 2, 10)
    assert committed_after(lane, 1, 2) == 3
    assert committed_after(lane, 10) == 11


def test_trap_06_a_share_holds_only_what_was_there_when_it_was_made() -> None:
    """The rows of an offset go out with it: the study lost table updates because a commit aliased a list that went on growing."""
    lane = lane_with(1, 2)
    lane.attach("a", 1, to=("b", 0), fields=[b"v", b"one"], future=None)
    lane.tracks["a"].acked.add(1)
    share = lane.share(1 << 20)
    assert share is not None
    lane.attach("a", 2, to=("b", 0), fields=[b"v", b"two"], future=None)
    lane.tracks["a"].acked.add(2)
    assert [output.fields for output in share.messages] == [[b"v", b"one"]]
    assert lane.tracks["a"].pending_bytes > 400
    lane.settle(share)
    rest = lane.share(1 << 20)
    assert rest is not None
    assert [output.fields for output in rest.messages] == [[b"v", b"two"]]
    lane.settle(rest)
    assert lane.tracks["a"].pending_bytes == 0


def test_a_share_is_bounded_in_bytes_but_one_message_always_fits() -> None:
    lane = lane_with(1, 2, 3)
    for offset in (1, 2, 3):
        lane.attach("a", offset, to=("b", 0), fields=[b"v", b"x" * 1000], future=None)
    lane.tracks["a"].acked.update((1, 2, 3))
    small = lane.share(10)
    larger = lane.share(2500)
    assert small is not None
    assert larger is not None
    assert (small.targets["a"].target, larger.targets["a"].target) == (2, 3)


def test_changelog_rows_are_compacted_and_the_last_entry_is_never_a_deleted_one() -> None:
    lane = lane_with(1, 2, 3)
    lane.changelogs["t"] = Changelog(last=7, rows={b"k": 5, b"l": 7})

    def row(offset: int, key: bytes, value: bytes | None) -> None:
        fields: list[bytes | str | int | float] = [b"k", key] + ([b"v", value] if value is not None else [])
        lane.attach("a", offset, to=("t", 0), fields=fields, future=None, row_key=key, tombstone=value is None)

    row(1, b"k", b"1")
    row(1, b"k", b"2")
    row(2, b"l", None)
    lane.tracks["a"].acked.update((1, 2))
    share = lane.share(1 << 20)
    assert share is not None
    assert [(placed.offset, placed.supersedes) for placed in share.rows] == [(8, [5]), (9, [7])]
    assert len(share.superseded) == 1
    lane.settle(share)
    assert lane.changelogs["t"] == Changelog(last=9, rows={b"k": 8}, tombstone=9)
    row(3, b"m", b"3")
    lane.tracks["a"].acked.add(3)
    after = lane.share(1 << 20)
    assert after is not None
    assert [(placed.offset, placed.supersedes) for placed in after.rows] == [(10, [9])]
