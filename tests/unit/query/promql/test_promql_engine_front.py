"""What must be read, what may be asked, and what is kept of a block: the engine's front."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from promql_series import STALE, MemorySeries

from query.promql.engine import evaluate, parse, run, selections
from query.promql.labels import LabelTable
from query.promql.lexical import DEPTH_MAX, TEXT_MAX
from query.promql.parsing import LEVELS_MAX
from query.promql.source import Matcher, Selection, SeriesBlock
from query.promql.steps import Limits, Steps
from topics.errors import Refused, TooExpensive

RANGE = Steps(3_600_000, 7_200_000, 60_000)
MINUTE = 60_000


def spans(text: str, steps: Steps = RANGE) -> list[tuple[int, int]]:
    return [(each.start_ms, each.end_ms) for each in selections(parse(text), steps)]


def test_a_selector_reads_from_its_first_look_back_to_the_last_step() -> None:
    assert spans("m") == [(3_300_001, 7_200_000)]
    assert spans("m", Steps.instant(1000, lookback_ms=10)) == [(991, 1000)]
    assert spans("rate(m[10m])") == [(3_000_001, 7_200_000)]
    assert spans("m offset 1m") == [(3_240_001, 7_140_000)]
    assert spans("m offset -1m") == [(3_360_001, 7_260_000)]
    assert spans("m @ 100") == [(-199_999, 100_000)]
    assert spans("m[1m] @ start() offset 1m", Steps.instant(RANGE.end_ms)) == [(7_080_001, 7_140_000)]
    assert spans("m @ end()") == [(6_900_001, 7_200_000)]
    # The first multiple of the step after 50 minutes is 51; of the inner, five minutes before that.
    assert spans("max_over_time(m[10m:1m])") == [(51 * MINUTE - 300_000 + 1, 7_200_000)]
    assert spans("max_over_time(rate(m[2m])[10m:7m] offset 1m)") == [(56 * MINUTE - 120_000 + 1, 119 * MINUTE)]


def test_selections_say_what_they_are_for_and_are_read_once() -> None:
    found = selections(parse('rate(m{a=~"x|y"}[5m]) / rate(m{a=~"x|y"}[5m]) + on () n'), RANGE)
    assert found == [
        Selection(
            (Matcher("__name__", "=", "m"), Matcher("a", "=~", "x|y")), 3_300_001, 7_200_000, MINUTE, 300_000, "rate"
        ),
        Selection((Matcher("__name__", "=", "n"),), 3_300_001, 7_200_000, MINUTE, 300_000, ""),
    ]
    assert selections(parse("1 + time()"), RANGE) == []


def test_what_is_read_is_enough() -> None:
    """Whatever lies outside of a selection is not looked at: a block of everything and a block of the selection say the same."""
    series = MemorySeries()
    series.load(MINUTE, ["m{} 0+1x300", "m{a='b'} 5 _x9 7+3x200".replace("'", '"')])
    everything = Selection((Matcher("__name__", "=", "m"),), -(10**15), 10**15)
    for text in ("m", "rate(m[7m])", "m offset 3m", "m @ 4000", "sum_over_time(m[10m:90s] offset 1m)", "m @ end()"):
        expression = parse(text)
        narrow = evaluate(expression, [series.block(each) for each in selections(expression, RANGE)], RANGE, Limits())
        wide = evaluate(expression, [series.block(everything)], RANGE, Limits())
        assert [(labels, values.tolist()) for labels, _, values in narrow.series()] == [
            (labels, values.tolist()) for labels, _, values in wide.series()
        ], text


async def test_limits_name_themselves_and_the_figure() -> None:
    series = MemorySeries()
    series.load(MINUTE, [f'm{{i="{k}"}} 0+1x120' for k in range(20)])
    steps, limits = Steps(0, 7_200_000, MINUTE), Limits()
    for text, limit, said in (
        ("m", replace(limits, points_max=100), "121 points a series is more than 100 points a series"),
        ("m", replace(limits, series_max=19), "20 series is more than 19 series"),
        ("m", replace(limits, samples_max=1000), "2420 samples is more than 1000 samples"),
        ("m", replace(limits, cells_max=2000), "20 series at 121 steps is more than 2000 values"),
        ("vector(1) and m[1m:1ms] > 0", limits, ""),
        ("sum_over_time(vector(1)[50y:1ms])", limits, "is more than 20000000 values"),
        ("m * on () group_left () m", replace(limits, cells_max=5000), "found duplicate"),
        ("sum(m)", replace(limits, seconds=-1.0), "more than -1 seconds"),
    ):
        with pytest.raises((TooExpensive, Refused)) as error:
            await run(series, text, steps, limit)
        assert said in str(error.value), text


def test_no_text_ends_the_process() -> None:
    """The package that parses overflows the stack on depth; bounds are looked at before it."""
    for text in ("(" * 5000 + "1" + ")" * 5000, "-" * 9000 + "1", "1" + "+1" * 9000, "abs(" * 4000 + "x" + ")" * 4000):
        with pytest.raises(Refused, match="more than"):
            parse(text)
    with pytest.raises(Refused, match=f"more than {TEXT_MAX} characters"):
        parse("x" * (TEXT_MAX + 1))
    deepest = "(" * (DEPTH_MAX - 1) + "x" + ")" * (DEPTH_MAX - 1)
    assert parse(deepest).kind == "vector"
    deepest = "abs(" * DEPTH_MAX + "x" + ")" * DEPTH_MAX + " or x" * (LEVELS_MAX - DEPTH_MAX - 1)
    steps = Steps.instant(0)
    series = MemorySeries()
    series.load(MINUTE, ["x{} 1"])
    expression = parse(deepest)
    assert evaluate(expression, [series.block(each) for each in selections(expression, steps)], steps, Limits()).labels
    with pytest.raises(Refused, match="inside each other"):
        parse(deepest + " or x")


@pytest.mark.parametrize("text", ["9" * 400 + "y", "9" * 5000 + "y", "0x" + "f" * 5000, "x offset " + "9" * 310 + "y"])
def test_a_number_of_any_length_is_read_or_out_of_range(text: str) -> None:
    with pytest.raises(Refused, match="out of range"):
        parse(text)


def test_a_template_names_no_group_by_more_digits_than_there_are() -> None:
    series = MemorySeries()
    series.load(MINUTE, ["x{} 1"])
    text = 'label_replace(x, "y", "a${' + "9" * 5000 + '}", "z", ".*")'
    expression, steps = parse(text), Steps.instant(0)
    found = evaluate(expression, [series.block(each) for each in selections(expression, steps)], steps, Limits())
    assert found.labels == [{"__name__": "x", "y": "a"}]


def test_a_refusal_has_a_code_and_a_path() -> None:
    with pytest.raises(Refused) as refused:
        parse("sum(")
    assert (refused.value.code, refused.value.path) == ("bad_data", "query")
    series = MemorySeries()
    series.load(MINUTE, ["a{} 1", "b{} 1"])
    expression = parse('-{__name__=~"a|b"}')
    steps = Steps.instant(0)
    with pytest.raises(Refused) as refused:
        evaluate(expression, [series.block(each) for each in selections(expression, steps)], steps, Limits())
    assert refused.value.code == "execution"


def test_kinds() -> None:
    kinds = {"1": "scalar", "'a'": "string", "m": "vector", "m[1m]": "matrix", "m[5m:1m]": "matrix", "-m": "vector"}
    assert {text: parse(text).kind for text in kinds} == kinds


def test_a_block_that_is_given_again_is_the_same_and_unchanged() -> None:
    series = MemorySeries()
    series.load(15_000, [f'm_total{{i="{k}", g="{k % 3}"}} 0+{k}x40 stale 5+1x60' for k in range(9)])
    steps = Steps(300_000, 1_200_000, 30_000)
    block = series.block(Selection((), 0, 10**9))
    before = (block.offsets.copy(), block.ts_ms.copy(), block.values.copy(), [dict(row) for row in block.labels.rows])
    for array in (block.offsets, block.ts_ms, block.values):
        array.flags.writeable = False
    for text in (
        "sum by (g) (rate(m_total[5m]))",
        "topk(2, m_total)",
        "-m_total",
        "m_total / m_total",
        "m_total or m_total",
    ):
        first, again = (evaluate(parse(text), [block] * 2, steps, Limits()) for _ in range(2))
        assert first.labels == again.labels, text
        np.testing.assert_array_equal(first.present, again.present)
        np.testing.assert_array_equal(first.values[first.present], again.values[again.present])
    assert before[3] == block.labels.rows
    for kept, now in zip(before, (block.offsets, block.ts_ms, block.values), strict=False):
        np.testing.assert_array_equal(kept.view(np.int64), now.view(np.int64))


def test_places_are_found_in_series_of_any_times() -> None:
    """Even, uneven, bursts, one sample, none: against a search series by series."""
    random = np.random.default_rng(7)
    parts = [
        np.arange(100) * 15_000,
        np.arange(100) * 15_000 + random.integers(-50, 50, 100),
        np.sort(random.choice(1_500_000, 80, replace=False)),
        np.concatenate((np.arange(40), 1_400_000 + np.arange(40))),
        np.array([700_000]),
        np.array([], dtype=np.int64),
        np.array([-5, 2_000_000]),
    ]
    offsets = np.concatenate(([0], np.cumsum([len(part) for part in parts])))
    times = np.concatenate(parts).astype(np.int64)
    table = LabelTable([{"i": str(k)} for k in range(len(parts))])
    block = SeriesBlock(table, offsets, times, np.arange(len(times), dtype=np.float64))
    steps = Steps(-100_000, 2_100_000, 7_000)
    result = evaluate(parse("count_over_time(m[93s])"), [block], steps, Limits())
    found = {
        labels["i"]: dict(zip(at.tolist(), values.tolist(), strict=True)) for labels, at, values in result.series()
    }
    for number, part in enumerate(parts):
        for time in steps.times_ms().tolist():
            count = int(((part > time - 93_000) & (part <= time)).sum())
            assert found.get(str(number), {}).get(time, 0) == count, (number, time)


def test_values_keep_their_bits_when_they_are_asked_for_raw() -> None:
    series = MemorySeries()
    series.load(MINUTE, ["m{} 1 NaN stale 2"])
    expression, steps = parse("m[10m]"), Steps.instant(600_000 - 1)
    result = evaluate(expression, [series.block(each) for each in selections(expression, steps)], steps, Limits())
    assert result.raw is not None
    assert result.raw.ts_ms.tolist() == [0, MINUTE, 3 * MINUTE]
    assert not (result.raw.values.view(np.int64) == STALE.view(np.int64)).any()
