"""Makes results folders as a run of suites leaves them, with the noise that runs on a real machine have.

A load has latencies of its own shape. From run to run all of them change by a few percent with the machine, and each
load by some percent more; within a run each request differs. In each second load a fault stops the answers for a while.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np

from DynamoFaultLibrary.load.folder import LoadFolder, LoadState
from DynamoFaultLibrary.load.plan import LoadPlan
from DynamoFaultLibrary.load.records import Endpoint, Outcome, Record

CLIENTS = 4
RUN_ID = "20260101-000000-abcdef"


@dataclass
class Version:
    """What is run: its tests, its loads, and how much slower the slowest answers of some loads are."""

    tests: int = 20
    loads: int = 8
    requests: int = 300
    slow_tail: Mapping[int, float] = field(default_factory=dict)
    """By number of a load: by what the slowest twentieth of its answers takes longer, as a factor."""
    failing: frozenset[int] = frozenset()
    """Numbers of tests that fail."""
    name: str = ""
    """Of the version."""
    slowness: float = 1.0
    machine_noise: float = 0.02
    load_noise: float = 0.02


def make_run(folder: Path, version: Version, rng: np.random.Generator, day: int = 1) -> Path:
    """Write the results of one run."""
    folder.mkdir(parents=True)
    started = datetime(2026, 1, day, 12)
    (folder / "output.xml").write_text(output_xml(version, started), encoding="utf-8")
    machine = version.slowness * math.exp(rng.normal(0, version.machine_noise))
    for number in range(version.loads):
        suite = folder / RUN_ID / f"load.suite_{number}"
        factor = machine * math.exp(rng.normal(0, version.load_noise))
        make_load(suite, f"Suites.Load.Suite {number}.Test {number}", factor, version, number, rng)
    return folder


def make_load(suite: Path, test: str, factor: float, version: Version, number: int, rng: np.random.Generator) -> None:
    """Write a load of a closed loop of clients; if its number is odd, it meets a fault in its middle."""
    path = suite / "load" / "default"
    path.mkdir(parents=True)
    count = version.requests
    latencies = 0.05 * (1 + number % 5) * factor * np.exp(rng.normal(0, 0.2, count))
    slowest = latencies >= np.quantile(latencies, 0.95)
    latencies[slowest] *= version.slow_tail.get(number, 1.0)
    total = float(latencies.sum()) / CLIENTS
    fault, outage = 100 + total / 2, 0.3 * factor * math.exp(rng.normal(0, 0.05))
    clocks, records = [100.0] * CLIENTS, []
    for place, latency in enumerate(latencies):
        client = int(np.argmin(clocks))
        start, end = clocks[client], clocks[client] + float(latency)
        outcome = Outcome.OK
        if number % 2 and start <= fault < end:
            end, outcome = fault + outage + float(latency), Outcome.STREAM_ERROR if client == 0 else Outcome.OK
        clocks[client] = end
        record = Record(f"r-{place}", "default", client, Endpoint.CHAT, True, 8, status=200, output_tokens=8)
        record.outcome, record.started_monotonic_s, record.ended_monotonic_s = outcome, start, end
        record.ttft_s, record.gaps_s = (end - start) / 4, [(end - start) / 10] * 7
        record.started_at = f"2026-01-01T11:00:{place % 60:02}.000000Z"
        records.append(record)
    records.sort(key=lambda each: each.ended_monotonic_s)
    plan = LoadPlan("default", "http://127.0.0.1:1", "m", CLIENTS, request_count=count)
    LoadFolder(path, "default", plan, LoadState.COMPLETED, tally={"good": count}, test=test).save()
    (path / "requests.jsonl").write_bytes(b"".join(record.to_line() for record in records))
    event = {"at": "2026-01-01T11:00:00.000000Z", "monotonic_s": 99.0, "kind": "deploy", "text": "", "test": test}
    event["data"] = {"startup_s": 4.0 * factor}
    (suite / "timeline.jsonl").write_text(json.dumps(event) + "\n")
    hit = {"label": "kill on Worker-0", "injected_monotonic_s": fault, "effective_monotonic_s": fault}
    faults = [{**hit, "ended_monotonic_s": fault + outage}] if number % 2 else []
    (suite / "faults.json").write_text(json.dumps(faults))


def output_xml(version: Version, started: datetime) -> str:
    """The verdicts; tests are spread over suites, one of them for each load."""
    suites = max(1, version.loads)
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', '<robot generator="Rebot 7.5" rpa="false" schemaversion="5">']
    lines.append('<suite id="s1" name="Suites"><suite id="s1-s1" name="Load">')
    for suite in range(suites):
        lines.append(f'<suite id="s1-s1-s{suite + 1}" name="Suite {suite}">')
        for number in range(suite, version.tests, suites):
            status = "FAIL" if number in version.failing else "PASS"
            words = "no good response" if status == "FAIL" else ""
            at = (started + timedelta(seconds=number)).isoformat()
            lines.append(f'<test id="t{number}" name="Test {number}"><kw name="Log" owner="BuiltIn">')
            lines += [f'<msg time="{at}" level="INFO">{RUN_ID}</msg>'] * 20
            lines.append(f'<status status="PASS" start="{at}" elapsed="1"/></kw>')
            lines.append(f'<status status="{status}" start="{at}" elapsed="1">{words}</status></test>')
        lines.append(f'<status status="PASS" start="{started.isoformat()}" elapsed="1"/></suite>')
    lines.append("</suite>")
    lines.append(f'<meta name="Dynamo">{quoteattr(version.name)[1:-1]}</meta>' if version.name else "")
    lines.append(f'<status status="PASS" start="{started.isoformat()}" elapsed="9"/></suite></robot>')
    return "\n".join(lines)
