"""Which test covers which item of the origins: docs/coverage.md, made from the tags ``origin:<number>:<item>``.

Usage: python .ci/coverage.py [--check]

Exits 1 when an item has no test, or a tag names no item; with --check also when docs/coverage.md is stale.
"""

import sys
from collections import defaultdict
from pathlib import Path

from robot.running import TestSuite

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "coverage.md"

ORIGINS = {
    1: "Request migration",
    2: "Fault tolerance testing",
    3: "Fault tolerance test suite",
    4: "Hardware fault framework",
    5: "Scenario framework",
}
ITEMS = {
    "1:worker-failure": "a worker is killed in the middle of a long request, which migrates",
    "2:migration": "request migration: backends, planes, endpoints, ends of a worker, limits",
    "2:cancellation": "request cancellation: unary and streamed, aggregated, decode, prefill",
    "2:cancellation-storm": "many clients give up at once",
    "2:etcd-leader-failover": "etcd HA: the leader fails, another one is elected",
    "2:etcd-partition": "etcd HA: a member becomes unreachable",
    "2:etcd-recovery": "etcd HA: recovery after etcd becomes available",
    "2:etcd-loss": "without HA: the only etcd is lost",
    "2:etcd-lease-loss": "a worker loses its lease",
    "2:nats-loss": "NATS dies",
    "2:nats-restart": "NATS is restarted",
    "2:nats-stall": "NATS hangs",
    "2:frontend-worker": "network fault FRONTEND_WORKER",
    "2:worker-nats": "network fault WORKER_NATS",
    "2:worker-worker": "network fault WORKER_WORKER",
    "2:custom": "network fault CUSTOM",
    "2:phases": "phases STANDARD, OVERFLOW, RECOVERY",
    "2:client": "the load client and its options",
    "3:decode-worker": "scenario decode_worker",
    "3:prefill-worker": "scenario prefill_worker",
    "3:frontend": "scenario frontend",
    "3:processor": "scenario processor (today's frontend)",
    "3:vllm-worker": "scenario vllm_worker: the engine process",
    "3:none": "scenario none: the baseline",
    "3:retries": "clients that retry (max_retries)",
    "4:cuda-faults": "toggle_cuda_faults: a worker sees its GPU fail, and recover",
    "5:load-config": "LoadConfig: count, duration, concurrency, rate, tokens, streaming",
    "5:load-and-checks": "StartLoad, StopLoad, TerminateProcess; ZeroErrors, MinRequests, WasCancelled",
    "5:client-type": "--client-type aiperf",
}


def main() -> None:
    """Collect, judge, write."""
    covered: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for suite, item in tags():
        covered[item][suite] += 1
    problems = [f"no test has the tag origin:{item} ({text})" for item, text in ITEMS.items() if item not in covered]
    problems += [f"tag origin:{item} names no item of .ci/coverage.py" for item in covered if item not in ITEMS]
    text = page(covered)
    if "--check" not in sys.argv:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        problems.append("docs/coverage.md is not up to date: run python .ci/coverage.py")
    for problem in problems:
        print(problem, file=sys.stderr)
    sys.exit(1 if problems else 0)


def tags() -> list[tuple[str, str]]:
    """A pair of suite file and item for each test that has the item's tag."""
    found = []
    for path in sorted((ROOT / "suites").rglob("*.robot")):
        for test in TestSuite.from_file_system(path).all_tests:
            origins = [tag.removeprefix("origin:") for tag in test.tags if tag.startswith("origin:")]
            found += [(str(path.relative_to(ROOT)), item) for item in origins]
    return found


def page(covered: dict[str, dict[str, int]]) -> str:
    """The page as Markdown."""
    lines = [
        "# What the suites cover",
        "",
        "Made by `.ci/coverage.py` from tags `origin:<number>:<item>`: an origin is a document that asked for tests.",
        "`robot --include origin:3:frontend suites` runs the tests of an item. Numbers of tests are in brackets.",
    ]
    for number, title in ORIGINS.items():
        items = {item: text for item, text in ITEMS.items() if item.startswith(f"{number}:")}
        if items:
            lines += ["", f"## Origin {number}: {title}", "", "| item | what | suites |", "|---|---|---|"]
        for item, text in items.items():
            suites = ", ".join(f"`{suite}` ({count})" for suite, count in sorted(covered[item].items()))
            lines.append(f"| `{item}` | {text} | {suites} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
