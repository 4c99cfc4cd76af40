import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from DynamoFaultLibrary.clock import monotonic
from DynamoFaultLibrary.load.records import Endpoint, Outcome, Record
from DynamoFaultLibrary.load.windows import FaultWindow
from DynamoFaultLibrary.reports.picture import draw
from DynamoFaultLibrary.reports.svg import WIDTH
from DynamoFaultLibrary.reports.timeline import Event, EventKind, Timeline

SVG = "{http://www.w3.org/2000/svg}"
NASTY = "<script>&\"quoted\" 'text' ]]> ä ✓"


def fault(label: str, start: float, end: float | None) -> FaultWindow:
    return FaultWindow(label, start, start, end)


def event(at: float, text: str = "something", kind: EventKind = EventKind.FAULT) -> Event:
    return Event("2026-01-02T03:04:05.678901Z", at, kind, text, "a test")


def record(
    name: str, start: float, end: float, outcome: Outcome = Outcome.OK, gaps: list[float] | None = None
) -> Record:
    return Record(
        name,
        "",
        0,
        Endpoint.CHAT,
        True,
        8,
        started_monotonic_s=start,
        ended_monotonic_s=end,
        outcome=outcome,
        ttft_s=0.1,
        gaps_s=gaps or [],
    )


def parse(svg: str) -> ET.Element:
    return ET.fromstring(svg)


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in parse(svg).iter(f"{SVG}text")]


def titles(svg: str) -> list[str]:
    return [element.text or "" for element in parse(svg).iter(f"{SVG}title")]


def rectangles(svg: str, title: str) -> list[tuple[float, float]]:
    return [
        (float(rect.attrib["x"]), float(rect.attrib["x"]) + float(rect.attrib["width"]))
        for rect in parse(svg).iter(f"{SVG}rect")
        if (rect.findtext(f"{SVG}title") or "").startswith(title)
    ]


def test_nothing_is_drawn_of_nothing() -> None:
    assert draw([], [], []) == ""
    assert draw([], [], [fault("stall", 1, 2)]) == ""


def test_a_picture_is_valid_xml_of_the_width_of_a_log() -> None:
    root = parse(draw([event(1), event(2)], [record("r", 1, 2)], [fault("stall", 1, None)]))
    assert root.tag == f"{SVG}svg"
    assert root.attrib["width"] == str(WIDTH)
    assert root.attrib["viewBox"] == f"0 0 {WIDTH} {root.attrib['height']}"


def test_each_text_is_escaped() -> None:
    failed = record(NASTY, 1, 2, Outcome.HTTP_ERROR)
    failed.error = NASTY
    svg = draw([event(1, NASTY)], [failed], [fault(NASTY, 1, 2)])
    assert "<script>" not in svg
    assert NASTY in texts(svg)
    assert NASTY[:20] in texts(svg)
    assert NASTY in titles(svg)
    assert f"{NASTY}: {failed.summary()}" in titles(svg)


def test_an_event_shows_its_text_and_its_time_of_day() -> None:
    shown = texts(draw([event(1, "Worker-0 was killed"), event(3, "recovered")], [], []))
    assert "Worker-0 was killed" in shown
    assert shown.count("03:04:05.678") == 2


def test_a_long_text_is_cut_in_the_picture_and_whole_in_its_title() -> None:
    long = "word " * 100
    svg = draw([event(1, long), event(2, "end")], [], [])
    cut = next(text for text in texts(svg) if text.startswith("word "))
    assert cut.endswith("…")
    assert len(cut) < len(long)
    assert long in titles(svg)


def test_time_runs_from_the_first_to_the_last_moment() -> None:
    svg = draw([event(100)], [record("r", 101, 110)], [])
    assert [text for text in texts(svg) if text.endswith(" s")] == [f"{seconds} s" for seconds in range(11)]
    assert rectangles(svg, "r: ") == [(pytest.approx(130 + 810 * 0.1, abs=0.1), pytest.approx(940, abs=0.2))]


def test_a_bar_is_as_long_as_its_request() -> None:
    svg = draw([], [record("a", 0, 5), record("b", 5, 10)], [])
    assert rectangles(svg, "a: ") == [(130, 535)]
    assert rectangles(svg, "b: ") == [(535, 940)]


def test_good_and_bad_requests_have_different_colours() -> None:
    svg = draw([], [record("a", 0, 5), record("b", 5, 10, Outcome.TIMEOUT)], [])
    colours = {(rect.findtext(f"{SVG}title") or "")[0]: rect.attrib["fill"] for rect in parse(svg).iter(f"{SVG}rect")}
    assert len({colours["a"], colours["b"]}) == 2


def test_a_long_pause_of_a_stream_is_drawn_and_a_short_one_is_not() -> None:
    svg = draw([], [record("a", 0, 10, gaps=[0.4, 0.02, 2.0])], [])
    assert [title for title in titles(svg) if title.startswith("pause")] == ["pause of 400 ms", "pause of 2000 ms"]
    ((start, end),) = rectangles(svg, "pause of 2000 ms")
    assert start == pytest.approx(130 + 81 * (0.1 + 0.4 + 0.02), abs=0.1)
    assert end - start == pytest.approx(81 * 2, abs=0.2)


def test_a_fault_is_shaded_while_it_is_in_effect() -> None:
    svg = draw([event(0), event(10)], [], [fault("stall", 2, 4), fault("kill", 5, None)])
    assert rectangles(svg, "stall") == [(pytest.approx(292, abs=0.1), pytest.approx(454, abs=0.2))]
    assert rectangles(svg, "kill") == [(535, 940)]


def test_a_fault_outside_of_the_picture_stays_within_its_frame() -> None:
    svg = draw([event(10), event(20)], [], [fault("stall", 0, 100)])
    assert rectangles(svg, "stall") == [(130, 940)]


def test_many_requests_are_cut_and_their_number_told() -> None:
    svg = draw([], [record(f"r{index}", index, index + 1) for index in range(30)], [])
    assert "… and 6 more requests" in texts(svg)
    assert "r23" in texts(svg)
    assert "r24" not in texts(svg)


def test_few_requests_are_all_shown() -> None:
    assert not [text for text in texts(draw([], [record("r", 0, 1)], [])) if "more requests" in text]


@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.text("a<&>\"'é✓", max_size=200)), min_size=1, max_size=6),
    st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 100)), max_size=30),
)
def test_whatever_happened_the_picture_is_valid_and_within_its_frame(
    events: list[tuple[float, str]], requests: list[tuple[float, float]]
) -> None:
    records = [record("r", start, start + length, gaps=[length / 2]) for start, length in requests]
    root = parse(draw([event(at, text) for at, text in events], records, [fault("f", events[0][0], None)]))
    for element in root.iter():
        for name in ("x", "x1", "x2", "cx"):
            assert 0 <= float(element.attrib.get(name, 0)) <= WIDTH
        assert float(element.attrib.get("height", 1)) > 0


def test_events_are_kept_with_their_test_and_time() -> None:
    timeline = Timeline()
    timeline.test = "first"
    before = monotonic()
    made = timeline.add(EventKind.DEPLOY, "agg is up")
    assert timeline.events == [made]
    assert (made.kind, made.text, made.test) == (EventKind.DEPLOY, "agg is up", "first")
    assert before <= made.monotonic_s <= monotonic()
    assert made.at.endswith("Z")


def test_an_event_can_be_noted_after_it_happened() -> None:
    assert Timeline().add(EventKind.GOOD, "x", monotonic_s=0.0).monotonic_s == 0.0


def test_each_event_is_in_the_file_at_once(tmp_path: Path) -> None:
    timeline = Timeline()
    timeline.add(EventKind.LOAD, "before there was a file")
    path = tmp_path / "deep" / "timeline.jsonl"
    timeline.write_to(path)
    timeline.test = "t"
    for number, text in enumerate(["first ✓", "second"]):
        made = timeline.add(EventKind.FAULT, text, number=number)
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert len(lines) == number + 1
        assert lines[-1] == {
            "at": made.at,
            "monotonic_s": made.monotonic_s,
            "kind": "fault",
            "text": text,
            "test": "t",
            "data": {"number": number},
        }
    assert len(timeline.events) == 3


def test_a_timeline_goes_on_in_another_file(tmp_path: Path) -> None:
    timeline = Timeline()
    for name in ("a", "b"):
        timeline.write_to(tmp_path / f"{name}.jsonl")
        timeline.add(EventKind.LOAD, name)
    assert json.loads((tmp_path / "a.jsonl").read_text())["text"] == "a"
    assert json.loads((tmp_path / "b.jsonl").read_text())["text"] == "b"


def test_the_events_of_a_test_are_in_time_order() -> None:
    timeline = Timeline()
    for test, text, at in [("one", "late", 9.0), ("two", "other", 1.0), ("one", "early", 2.0)]:
        timeline.test = test
        timeline.add(EventKind.FAULT, text, at)
    assert [found.text for found in timeline.of_test("one")] == ["early", "late"]
    assert timeline.of_test("none") == []
