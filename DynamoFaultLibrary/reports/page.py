"""A report of loads as one HTML page: tables and pictures, nothing fetched from anywhere."""

from collections.abc import Sequence
from html import escape

from DynamoFaultLibrary.reports.load_picture import draw_load
from DynamoFaultLibrary.reports.results import LoadReport, metrics_table
from DynamoFaultLibrary.reports.tables import cut, faults_table, figures_table, scenario_table

_STYLE = "font-family:sans-serif;color:#1a202c;background:#fff;max-width:980px;margin:24px auto"


def page(reports: Sequence[LoadReport], sla_s: float | None = None) -> str:
    """The whole page."""
    names = [str(number) for number in range(1, len(reports) + 1)]
    contents = "".join(f"<li>{escape(report.title)}</li>" for report in reports)
    scenarios = scenario_table([report.scenario(sla_s) for report in reports]).to_html()
    parts = [
        f"<h1>Loads</h1><ol>{contents}</ol>",
        "<h2>Before and after the failure</h2>" + scenarios,
        "<h2>Metrics</h2>" + metrics_table(list(reports), names, sla_s).to_html(),
        *(_load(name, report) for name, report in zip(names, reports, strict=True)),
    ]
    return document("Loads", "".join(parts))


def document(title: str, body: str) -> str:
    """A page of its own."""
    head = f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title></head>'
    return f'{head}<body style="{_STYLE}">{body}</body></html>\n'


def _load(name: str, report: LoadReport) -> str:
    table = report.folder.table
    parts = cut(table, report.fault, report.phases, report.folder.served)
    facts = faults_table(report.aftermaths).to_html() if report.aftermaths else ""
    return (
        f"<h2>{name}. {escape(report.title)}</h2>"
        f"<p>{escape(report.folder.plan.describe() if report.folder.plan else report.folder.engine)}</p>"
        + draw_load(table, report.aftermaths, report.phases, served=report.folder.served)
        + facts
        + figures_table({part: segment.figures for part, segment in parts.items()}).to_html()
    )
