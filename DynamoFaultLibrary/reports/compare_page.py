"""A comparison as one HTML page: tables and pictures, nothing fetched from anywhere."""

from collections.abc import Sequence
from html import escape

from DynamoFaultLibrary.reports.compare import OVERALL, Comparison, Side
from DynamoFaultLibrary.reports.compare_tables import (
    figures_sentence,
    figures_table,
    noteworthy,
    sides_table,
    tests_sentence,
    tests_table,
)
from DynamoFaultLibrary.reports.page import document
from DynamoFaultLibrary.reports.strips import draw_strips

_MOST_STRIPS = 30


def page(sides: Sequence[Side], comparisons: Sequence[Comparison], conclusion: str, is_worse: bool) -> str:
    """The whole page."""
    colour = "#c53030" if is_worse else "#2f855a"
    title = " and ".join(side.label for side in sides)
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p style="color:{colour};font-weight:bold">{escape(conclusion)}</p>',
        sides_table(sides).to_html(),
        *(_comparison(each) for each in comparisons),
    ]
    return document(f"Comparison of {title}", "".join(parts))


def _comparison(found: Comparison) -> str:
    labels = found.one.label, found.other.label
    parts = [f"<h2>{escape(found.other.label)} beside {escape(found.one.label)}</h2>"]
    if found.common_tests:
        parts.append(f"<h3>Tests</h3><p>{tests_sentence(found)}</p>")
    if found.tests:
        parts.append(tests_table(found).to_html())
        reasons = [f"<li>{escape(each.name)}: {escape(each.message)}</li>" for each in found.tests if each.message]
        parts.append(f"<p>Reasons:</p><ul>{''.join(reasons)}</ul>" if reasons else "")
    if found.figures:
        shown = noteworthy(found)[:_MOST_STRIPS]
        parts.append(f"<h3>Figures</h3><p>{escape(figures_sentence(found))} A dot is a run, a bar the median.</p>")
        parts.append(draw_strips(shown, labels))
        parts += [_load(found, load) for load in dict.fromkeys(each.load for each in found.figures)]
    if found.lone_loads:
        lone = "".join(f"<li>{escape(name)}</li>" for name in found.lone_loads)
        parts.append(f"<h3>Loads on one side only</h3><ul>{lone}</ul>")
    return "".join(parts)


def _load(found: Comparison, load: str) -> str:
    """All figures of a load, folded; those of all loads are shown."""
    figures = [each for each in found.figures if each.load == load]
    more = " (sums of counts, geometric means of the others)" if load == OVERALL else ""
    table = figures_table(found, figures, with_load=False).to_html()
    return f"<details{' open' if load == OVERALL else ''}><summary>{escape(load)}{more}</summary>{table}</details>"
