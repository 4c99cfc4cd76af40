import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from DynamoFaultLibrary.load.records import Endpoint, Outcome, Record
from DynamoFaultLibrary.load.recovery import aftermaths
from DynamoFaultLibrary.load.served import Served
from DynamoFaultLibrary.load.table import Table
from DynamoFaultLibrary.load.windows import FaultWindow, PhaseMark
from DynamoFaultLibrary.reports import load_picture
from DynamoFaultLibrary.reports.svg import LEFT, RIGHT, WIDTH, TimeAxis

SVG = "{http://www.w3.org/2000/svg}"
NASTY = "<script>&\"quoted\" 'text' ]]> ä ✓"
MIDDLE = (LEFT + WIDTH - RIGHT) / 2


def load(*requests: tuple[float, float, Outcome]) -> Table:
    records = []
    for start, end, outcome in requests:
        made = Record("r", "l", 0, Endpoint.CHAT, True, 8, outcome=outcome)
        made.started_monotonic_s, made.ended_monotonic_s = start, end
        records.append(made)
    return Table.of(records)


def steady(count: int = 20, outcome: Outcome = Outcome.OK) -> Table:
    """A request a second, each as long."""
    return load(*((float(second), second + 1.0, outcome) for second in range(count)))


def fault(injected: float, ended: float | None, label: str = "kill on Worker-0") -> FaultWindow:
    return FaultWindow(label, injected, injected, ended)


def draw_load(
    table: Table,
    faults: Sequence[FaultWindow],
    phases: Sequence[PhaseMark] = (),
    title: str = "",
    served: Served | None = None,
    axis: TimeAxis | None = None,
) -> str:
    return load_picture.draw_load(table, aftermaths(table, faults), phases, title, served, axis)


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text")]


def bars(svg: str) -> dict[str, list[ET.Element]]:
    """Rectangles by what their title says, without its numbers."""
    found: dict[str, list[ET.Element]] = {}
    for rect in ET.fromstring(svg).iter(f"{SVG}rect"):
        title = rect.findtext(f"{SVG}title") or ""
        match = re.fullmatch(r"\d+ (\w+) in [\d.]+ s", title)
        found.setdefault(match[1] if match else title, []).append(rect)
    return found


def marks(svg: str) -> list[float]:
    """Places of the dashed lines."""
    lines = ET.fromstring(svg).iter(f"{SVG}line")
    dashed = [line.attrib for line in lines if "stroke-dasharray" in line.attrib]
    return [float(line["x1"]) for line in dashed if line["x1"] == line["x2"]]


def baselines(svg: str) -> list[float]:
    """Heights of the dashed lines from left to right."""
    lines = ET.fromstring(svg).iter(f"{SVG}line")
    dashed = [line.attrib for line in lines if "stroke-dasharray" in line.attrib]
    return [float(line["y1"]) for line in dashed if line["x1"] != line["x2"]]


def polylines(svg: str) -> list[list[tuple[float, float]]]:
    found = [line.attrib["points"].split() for line in ET.fromstring(svg).iter(f"{SVG}polyline")]
    return [[(float(x), float(y)) for x, y in (point.split(",") for point in points)] for points in found]


def test_nothing_is_drawn_of_nothing() -> None:
    assert draw_load(load(), [fault(1, 2)], [PhaseMark("one", 0)], "title") == ""


def test_a_picture_is_valid_xml_of_the_width_of_a_log() -> None:
    root = ET.fromstring(draw_load(steady(), []))
    assert root.tag == f"{SVG}svg"
    assert root.attrib["width"] == str(WIDTH)
    assert root.attrib["viewBox"] == f"0 0 {WIDTH} {root.attrib['height']}"
    assert "background:#fff" in root.attrib["style"]


def test_each_text_is_escaped() -> None:
    svg = draw_load(steady(), [fault(1, 2, NASTY)], [PhaseMark(NASTY, 3)], NASTY)
    assert "<script>" not in svg
    assert {NASTY, f"phase {NASTY}"} <= set(texts(svg))
    assert NASTY in bars(svg)


@pytest.mark.parametrize("outcome", Outcome)
def test_each_outcome_is_drawn_and_named(outcome: Outcome) -> None:
    svg = draw_load(load((0, 1, outcome), (1, 2, outcome)), [])
    assert f"{outcome.value} 2" in texts(svg)
    assert [rect.findtext(f"{SVG}title") for rect in bars(svg)[outcome.value]] == [f"2 {outcome.value} in 2.00 s"]


def test_each_outcome_has_a_colour_of_its_own() -> None:
    svg = draw_load(load(*((0, 1, outcome) for outcome in Outcome)), [])
    colours = {bars(svg)[outcome.value][0].attrib["fill"] for outcome in Outcome}
    assert len(colours) == len(Outcome)


def test_bars_are_as_high_as_requests_ended_there() -> None:
    svg = draw_load(load(*[(0, 2, Outcome.OK)] * 30, *[(0, 2, Outcome.TIMEOUT)] * 10, (0, 4, Outcome.OK)), [])
    good, bad = (float(bars(svg)[name][0].attrib["height"]) for name in ("ok", "timeout"))
    assert good == pytest.approx(3 * bad, abs=0.2)


def test_bars_lie_on_each_other() -> None:
    found = bars(draw_load(load((0, 1, Outcome.OK), (0, 1, Outcome.TIMEOUT)), []))
    good, bad = found["ok"][0].attrib, found["timeout"][0].attrib
    assert float(bad["y"]) + float(bad["height"]) == pytest.approx(float(good["y"]), abs=0.2)


def test_all_requests_are_in_some_bar() -> None:
    svg = draw_load(steady(100), [])
    counts = [int((rect.findtext(f"{SVG}title") or "").split()[0]) for rect in bars(svg)["ok"]]
    assert sum(counts) == 100
    assert len(counts) == 25


def test_time_runs_from_the_first_start_to_the_last_end() -> None:
    ticks = [text for text in texts(draw_load(steady(20), [])) if text.endswith(" s")]
    assert ticks == [f"{seconds} s" for seconds in range(0, 21, 2)]


@pytest.mark.parametrize(
    ("span", "last"), [(0.4, "0.4 s"), (7.0, "7 s"), (13.7, "12 s"), (60, "60 s"), (99, "90 s"), (3600, "3500 s")]
)
def test_ticks_are_round(span: float, last: str) -> None:
    ticks = [text for text in texts(draw_load(load((0, span, Outcome.OK)), [])) if text.endswith(" s")]
    assert ticks[0] == "0 s"
    assert ticks[-1] == last
    assert len(ticks) <= 11


def test_a_time_axis_can_be_that_of_another_picture() -> None:
    svg = draw_load(steady(20), [fault(10, 10)], axis=TimeAxis(-20, 20))
    assert marks(svg)[0] == pytest.approx(LEFT + (WIDTH - LEFT - RIGHT) * 0.75, abs=0.1)
    assert [text for text in texts(svg) if text.endswith(" s")][-1] == "40 s"


def test_the_baseline_is_a_line_in_both_charts_and_full_recovery_is_marked() -> None:
    requests = [(n / 10, n / 10 + 0.5, Outcome.OK) for n in range(400) if not 100 <= n < 150]
    svg = draw_load(load(*requests), [fault(10, 10)])
    assert len(baselines(svg)) == 2
    assert {"- - before the fault: 9.8/s", "- - p95 before the fault: 0.500 s"} <= set(texts(svg))
    (words,) = [text for text in texts(svg) if text.startswith("full recovery after")]
    assert float(words.split()[3]) == pytest.approx(5.5, abs=0.05)


def test_a_full_recovery_that_is_not_reached_is_told() -> None:
    requests = [(n / 10, n / 10 + 0.5, Outcome.OK) for n in range(300) if n < 100 or n % 2]
    svg = draw_load(load(*requests), [fault(10, 10)])
    assert "full recovery: not reached: 51 % of the throughput at the end" in texts(svg)


def test_labels_do_not_lie_on_each_other() -> None:
    svg = draw_load(steady(40), [fault(10 + n / 10, None, f"fault number {n} with a long name") for n in range(6)])
    places = [
        (element.attrib["y"], element.attrib["x"], element.attrib["text-anchor"])
        for element in ET.fromstring(svg).iter(f"{SVG}text")
        if (element.text or "").startswith("fault number")
    ]
    assert len({y for y, _, _ in places}) == 6


def test_latency_by_replica_is_a_line_each() -> None:
    uuids = [f"00000000-0000-0000-0000-{number:012x}" for number in range(40)]
    records = [Record("r", "l", 0, Endpoint.CHAT, True, 8, outcome=Outcome.OK) for _ in uuids]
    for number, (made, uuid) in enumerate(zip(records, uuids, strict=True)):
        made.started_monotonic_s, made.ended_monotonic_s, made.response_id = number, number + 1.0, f"cmpl-{uuid}"
    ways = {uuid: [f"W-{number % 2}"] for number, uuid in enumerate(uuids)}
    table = Table.of(records)
    svg = draw_load(table, [], served=Served.of(["W-0", "W-1", "W-2"], ways))
    assert {"— W-0", "— W-1", "p50 by replica (s)"} <= set(texts(svg))
    assert "— W-2" not in texts(svg)
    assert len(polylines(svg)) == 4
    alone = draw_load(table, [], served=Served.of(["W-0"], {uuid: ["W-0"] for uuid in uuids}))
    assert "p50 by replica (s)" not in texts(alone)


def test_a_fault_is_shaded_while_it_is_in_effect() -> None:
    (upper, lower) = bars(draw_load(steady(20), [fault(5, 10)]))["kill on Worker-0"]
    for rect in (upper, lower):
        left, width = float(rect.attrib["x"]), float(rect.attrib["width"])
        assert left == pytest.approx(LEFT + (WIDTH - LEFT - RIGHT) / 4, abs=0.1)
        assert left + width == pytest.approx(MIDDLE, abs=0.2)


def test_a_fault_that_stays_is_shaded_to_the_end() -> None:
    rect = bars(draw_load(steady(20), [fault(10, None)]))["kill on Worker-0"][0]
    assert float(rect.attrib["x"]) + float(rect.attrib["width"]) == pytest.approx(WIDTH - RIGHT, abs=0.2)


def test_what_came_after_the_load_is_not_drawn() -> None:
    svg = draw_load(steady(20), [fault(21, 22)], [PhaseMark("later", 21)])
    assert "kill on Worker-0" not in bars(svg)
    assert "phase later" not in texts(svg)
    assert marks(svg) == []


def test_the_recovery_is_marked_where_the_good_responses_begin() -> None:
    requests = [(float(n), n + 1.0, Outcome.TIMEOUT if 4 <= n < 9 else Outcome.OK) for n in range(20)]
    svg = draw_load(load(*requests), [fault(5, 5)])
    assert "answers again after 5.00 s" in texts(svg)
    assert "kill on Worker-0" in texts(svg)
    assert marks(svg) == [pytest.approx(LEFT + 810 / 4, abs=0.1), pytest.approx(MIDDLE, abs=0.1)]


def test_a_load_that_did_not_recover_has_no_mark_of_it() -> None:
    svg = draw_load(steady(20, Outcome.TIMEOUT), [fault(5, 5)])
    assert not [text for text in texts(svg) if "again" in text]
    assert len(marks(svg)) == 1


def test_phases_are_marked_where_they_begin() -> None:
    svg = draw_load(steady(20), [], [PhaseMark("standard", 0), PhaseMark("overflow", 10)])
    assert {"phase standard", "phase overflow"} <= set(texts(svg))
    assert marks(svg) == [LEFT, pytest.approx(MIDDLE, abs=0.1)]


def test_percentiles_of_latency_are_lines() -> None:
    svg = draw_load(steady(40), [])
    assert len(polylines(svg)) == 2
    assert {"— p50", "— p95"} <= set(texts(svg))


def test_a_slow_request_lifts_the_p95_and_not_the_p50() -> None:
    half, most = polylines(draw_load(load(*[(9.0, 10.0, Outcome.OK)] * 6, (5.0, 10.0, Outcome.OK)), []))
    assert most[0][1] < half[0][1]


@pytest.mark.parametrize("count", [1, 3, 8])
def test_few_requests_have_a_line_that_can_be_seen(count: int) -> None:
    for points in polylines(draw_load(steady(count), [])):
        assert points[0][0] == LEFT
        assert points[-1][0] == pytest.approx(WIDTH - RIGHT, abs=0.1)


def test_without_a_good_request_the_picture_says_that_there_is_no_latency() -> None:
    svg = draw_load(steady(3, Outcome.TIMEOUT), [])
    assert "no good request, so there is no latency to show" in texts(svg)
    assert polylines(svg) == []


def test_one_request_that_took_no_time_is_drawn() -> None:
    assert "ok 1" in texts(draw_load(load((5, 5, Outcome.OK)), [fault(5, 5)]))


def within_frame(svg: str) -> bool:
    for element in ET.fromstring(svg).iter():
        places = [float(element.attrib.get(name, 0)) for name in ("x", "x1", "x2")]
        if not all(0 <= place <= WIDTH for place in places) or float(element.attrib.get("height", 1)) < 0:
            return False
    return True


def test_a_legend_of_all_outcomes_has_room() -> None:
    svg = draw_load(load(*((float(n), n + 1.0, outcome) for n, outcome in enumerate(Outcome))), [])
    assert within_frame(svg)
    assert all(f"{outcome.value} 1" in texts(svg) for outcome in Outcome)


def test_a_latency_that_is_next_to_nothing_is_drawn() -> None:
    assert within_frame(draw_load(load((0.0, 5e-324, Outcome.OK)), []))


@given(
    requests=st.lists(
        st.tuples(st.floats(0, 1e6), st.floats(0, 1e3), st.sampled_from(Outcome)), min_size=1, max_size=40
    ),
    injected=st.floats(-10, 1e6),
    length=st.none() | st.floats(0, 1e6),
    phases=st.lists(st.tuples(st.text("a<&>\"'é✓", max_size=20), st.floats(-10, 1e6)), max_size=3),
)
def test_whatever_happened_the_picture_is_valid_and_within_its_frame(
    requests: list[tuple[float, float, Outcome]],
    injected: float,
    length: float | None,
    phases: Sequence[tuple[str, float]],
) -> None:
    table = load(*((start, start + took, outcome) for start, took, outcome in requests))
    hit = fault(injected, None if length is None else injected + length)
    svg = draw_load(table, [hit], [PhaseMark(*phase) for phase in phases], "<title>")
    assert within_frame(svg)
    assert all(0 <= y <= 500 for points in polylines(svg) for _, y in points)
