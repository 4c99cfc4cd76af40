"""Tries the CUDA shim on a real GPU, and prints a table. Needs python3 with PyTorch, gcc, make and this folder's tree.

    python3 tests/gpu/run.py                 one GPU
    python3 tests/gpu/run.py --two-gpus      besides: NCCL, and one GPU of two
    python3 tests/gpu/run.py --only Triton   some kinds of work

Each kind of work runs in a process of its own under the shim: before the toggle it must never fail, while it is on
every round must, and after it none again. Nothing happens to the GPU itself. Exits 1 when a number misses its target.
"""

import argparse
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SHIM = ROOT / "cuda_shim"
TWO_GPUS = ("NCCL all-reduce", "second GPU of a process")
ROUNDS = 10
CALLS = 10_000_000
PAIRS = 16
HANGS_S = 120
LAUNCH_US = 6.0
"""What a launch costs from PyTorch; the shim may add 1 % of it."""


class Toggle:
    """A toggle of its own for each process."""

    def __init__(self, place: Path) -> None:
        self.path = place / "cuda_fault_enabled"
        self.counters = place / "cuda_fault_enabled.d"
        self.counters.mkdir(parents=True)
        self.generation = 0
        self.write("0", "")

    def write(self, on: str, rule: str) -> None:
        self.generation += 1
        rules = f"rule {rule}\n" if rule else "release\n"
        page = f"{on}\ndynamo-fault-cuda 1\ngeneration {self.generation}\n{rules}end\n".encode().ljust(4096, b"\n")
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o644)
        os.pwrite(descriptor, page, 0)
        os.close(descriptor)

    def wait(self) -> None:
        """Until all living processes have read the page."""
        end = time.monotonic() + 10
        while time.monotonic() < end:
            files = [path.read_bytes() for path in self.counters.iterdir()]
            living = [data for data in files if Path(f"/proc/{int.from_bytes(data[8:12], 'little')}").exists()]
            if living and all(int.from_bytes(data[24:32], "little") == self.generation for data in living):
                return
            time.sleep(0.001)
        raise SystemExit("the processes have not read their toggle within 10 s")

    def failed(self) -> int:
        """Calls that were made to fail, in all processes."""
        return sum(
            int.from_bytes(data[at : at + 8], "little")
            for data in (path.read_bytes() for path in self.counters.iterdir())
            for at in range(72 + 9 * 8, 72 + 18 * 8, 8)
        )


class Process:
    """One worker that answers line by line."""

    def __init__(self, command: list[str], **environment: str) -> None:
        self.errors = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115  # it lives as long as the process
        self.process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )

    def send(self, line: str) -> None:
        try:
            self.process.stdin.write(line + "\n")  # type: ignore[union-attr]
            self.process.stdin.flush()  # type: ignore[union-attr]
        except BrokenPipeError:
            pass

    def line(self) -> str:
        """The next line; a process that hangs is killed, and then there is none."""
        timer = threading.Timer(HANGS_S, self.process.kill)
        timer.start()
        try:
            return str(self.process.stdout.readline()).strip()  # type: ignore[union-attr]
        finally:
            timer.cancel()

    def answer(self) -> dict[str, Any]:
        """The next JSON object; one with ``ended`` when the process is gone."""
        while text := self.line():
            if text.startswith("{"):
                return dict(json.loads(text))
        return {"ended": self.process.wait(30)}

    def ask(self, line: str) -> dict[str, Any]:
        self.send(line)
        return self.answer()

    def end(self) -> str:
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()  # type: ignore[union-attr]
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.errors.seek(0)
        return self.errors.read()[-600:]


@dataclass
class Row:
    """One kind of work: failed rounds before, during and after."""

    kind: str
    before: str = "-"
    during: str = "-"
    after: str = "-"
    error: str = ""
    calls: int = 0
    skipped: str = ""

    @property
    def is_good(self) -> bool:
        """NCCL's own watchdog may end the process while the toggle is on, as it does on a real failure."""
        if self.skipped:
            return True
        was_ended = self.kind.startswith("NCCL") and "ended" in self.during
        recovered = self.during == f"{ROUNDS}/{ROUNDS}" and self.after == f"0/{ROUNDS}"
        return self.before == f"0/{ROUNDS}" and (was_ended or recovered)


@dataclass
class Report:
    """All that was measured."""

    gpu: str = ""
    torch: str = ""
    driver: str = ""
    rows: list[Row] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)
    misses: list[str] = field(default_factory=list)


def probe(kind: str, shim: Path, place: Path, report: Report) -> Row:
    row = Row(kind)
    toggle = Toggle(place / re.sub(r"\W+", "-", kind))
    variables = {
        "LD_PRELOAD": str(shim),
        "DYNAMO_FAULT_CUDA_FILE": str(toggle.path),
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }
    command = [sys.executable, str(HERE / "work.py"), kind]
    ranks = [{"RANK": str(rank)} for rank in range(2)] if kind.startswith("NCCL") else [{}]
    rendezvous = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29517"}
    workers = [Process(command, **variables, **rendezvous, **rank) for rank in ranks]
    try:
        ready = [worker.answer() for worker in workers]
        if not all("ready" in each for each in ready):
            said = workers[0].end()
            missing = re.search(r"ModuleNotFoundError: .*", said)
            row.skipped = missing.group(0) if missing else f"did not start: {said[-200:]}"
            if not missing:
                report.misses.append(f"{kind} {row.skipped}")
            return row
        report.gpu, report.torch = ready[0]["gpu"], ready[0]["torch"]
        row.before = rounds(workers, row)
        toggle.write("1", "xid=79 gpu=1" if kind.startswith("second") else "xid=79")
        toggle.wait()
        row.during = rounds(workers, row)
        toggle.write("0", "")
        if "ended" not in row.during:
            toggle.wait()
            row.after = rounds(workers, row)
        row.calls = toggle.failed()
    finally:
        for worker in workers:
            worker.end()
    if not row.is_good:
        report.misses.append(f"{kind}: failed {row.before} before, {row.during} during, {row.after} after")
    return row


def rounds(workers: list[Process], row: Row) -> str:
    """How many rounds failed, of how many; for several workers each has to."""
    failed = 0
    for _ in range(ROUNDS):
        for worker in workers:
            worker.send("round")
        answers = [worker.answer() for worker in workers]
        if any("ended" in answer for answer in answers):
            return f"process ended ({answers[0].get('ended')})"
        failed += all(answer["error"] for answer in answers)
        row.error = next((answer["error"] for answer in answers if answer["error"]), row.error)
    return f"{failed}/{ROUNDS}"


def measure(shim: Path, place: Path, report: Report) -> None:
    """Launch cost, toggle to first failure, and failures when off, with a program of C alone."""
    program = place / "launch"
    subprocess.run(["gcc", "-O2", "-w", "-o", program, HERE / "launch.c", "-ldl"], check=True)
    toggle = Toggle(place / "launch.toggle")
    shimmed = {"LD_PRELOAD": str(shim), "DYNAMO_FAULT_CUDA_FILE": str(toggle.path)}
    times: dict[str, list[float]] = {"bare": [], "loaded": []}
    for _ in range(PAIRS):  # a process is faster or slower than its like by more than the shim costs: so many of both
        pair = [("bare", Process([str(program)])), ("loaded", Process([str(program)], **shimmed))]
        costs: dict[str, list[float]] = {"bare": [], "loaded": []}
        for turn in range(10):
            for name, process in pair if turn % 2 else reversed(pair):
                process.send("cost")
                costs[name].append(float(process.line()))
        for name, process in pair:
            times[name].append(statistics.median(costs[name]))
            process.end()
    for name, values in times.items():
        low, middle, high = statistics.quantiles(values, n=4)
        report.numbers[f"launch_ns_{name}_quartiles_of_{PAIRS}_processes"] = f"{low:.0f}, {middle:.0f}, {high:.0f}"
    added = statistics.median(times["loaded"]) - statistics.median(times["bare"])
    report.numbers["launch_ns_added"] = round(added, 1)
    report.numbers["launch_added_percent_of_6us"] = round(added / (LAUNCH_US * 10), 3)
    if added > LAUNCH_US * 10:
        report.misses.append(f"a launch costs {added:.0f} ns more under the shim, more than 1 % of {LAUNCH_US} us")
    toggle = Toggle(place / "latency.toggle")
    loaded = Process([str(program)], **{**shimmed, "DYNAMO_FAULT_CUDA_FILE": str(toggle.path)})
    loaded.send(f"calls {CALLS}")
    failed = int(loaded.line())
    report.numbers["failed_of_1e7_calls_when_off"] = failed
    if failed:
        report.misses.append(f"{failed} calls failed while the toggle was off")
    waits = []
    for _ in range(50):
        loaded.send("until")
        time.sleep(0.02)  # it launches by then; if not, the wait reads too long, never too short
        began = time.monotonic()
        toggle.write("1", "xid=79")
        waits.append((float(loaded.line()) - began) * 1e6)
        toggle.write("0", "")
        toggle.wait()
    report.numbers["toggle_to_failure_us_median"] = round(statistics.median(waits))
    report.numbers["toggle_to_failure_us_max"] = round(max(waits))
    if statistics.median(waits) > 1000:
        report.misses.append(f"the first failed call came {statistics.median(waits):.0f} us after the toggle")
    loaded.end()


def measure_torch(shim: Path, place: Path, report: Report) -> None:
    """The same from PyTorch: two processes in turn."""
    toggle = Toggle(place / "torch.toggle")
    command = [sys.executable, str(HERE / "work.py"), "eager kernels"]
    loaded = Process(command, LD_PRELOAD=str(shim), DYNAMO_FAULT_CUDA_FILE=str(toggle.path))
    bare = Process(command)
    for process in (bare, loaded):
        process.answer()
    times: dict[str, list[float]] = {"bare": [], "loaded": []}
    for turn in range(30):
        pair = [("bare", bare), ("loaded", loaded)]
        for name, process in pair if turn % 2 else reversed(pair):
            times[name].append(process.ask("launches 1000")["us"])
    for name, values in times.items():
        report.numbers[f"torch_launch_us_{name}_median"] = round(statistics.median(values), 3)
        report.numbers[f"torch_launch_us_{name}_best"] = round(min(values), 3)
    for process in (bare, loaded):
        process.end()


def unlisted(report: Report) -> None:
    """Entry points of this driver whose names say that they submit, wait or allocate, but which the shim lacks."""
    listed = set(re.findall(r"^CALL\((\w+),", (SHIM / "src" / "entries.def").read_text(), re.MULTILINE))
    libraries = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"libcuda\.so\.1 .*=> (\S+)", libraries)
    if not found:
        report.numbers["unlisted_driver_entry_points"] = "libcuda.so.1 is not in the linker's cache"
        return
    symbols = subprocess.run(
        ["nm", "-D", "--defined-only", found[1]], capture_output=True, text=True, check=False
    ).stdout
    names = {line.split()[-1].split("@")[0] for line in symbols.splitlines() if line}
    telling = re.compile(
        r"cu(Launch|Memcpy|Memset|MemAlloc|MemCreate|MemHostAlloc|GraphLaunch|GraphInstantiate|GraphUpload|"
        r"(Ctx|Stream|Event)Synchronize|(Stream|Event)Query|EventRecord|StreamWaitEvent|StreamBeginCapture|StreamCreate|"
        r"Init$|DeviceGetCount|CtxCreate|ModuleLoad|LibraryLoad)"
    )
    report.numbers["unlisted_driver_entry_points"] = sorted(name for name in names - listed if telling.match(name))


def table(report: Report) -> str:
    """As Markdown."""
    lines = [
        f"{report.gpu}, driver {report.driver}, PyTorch {report.torch}, {time.strftime('%Y-%m-%d')}:",
        "",
        "| work | failed before | failed while on | failed after | calls failed | what the program sees |",
        "|---|---|---|---|---|---|",
    ]
    for row in report.rows:
        seen = f"skipped: {row.skipped[-60:]}".replace("\n", " ") if row.skipped else row.error[:90].replace("|", "/")
        lines.append(f"| {row.kind} | {row.before} | {row.during} | {row.after} | {row.calls} | {seen} |")
    lines += ["", "| number | value |", "|---|---|"]
    lines += [f"| {name.replace('_', ' ')} | {value} |" for name, value in report.numbers.items()]
    return "\n".join(lines)


def driver_version() -> str:
    try:
        return re.search(r"Module\s+(?:for \S+\s+)?([\d.]+)", Path("/proc/driver/nvidia/version").read_text())[1]  # type: ignore[index]
    except (OSError, TypeError):
        return "unknown"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--two-gpus", action="store_true", help="also what needs two GPUs")
    parser.add_argument("--only", action="append", default=[], help="only kinds of work with this in their name")
    parser.add_argument("--no-cost", action="store_true", help="no measurements of cost and latency")
    parser.add_argument("--out", type=Path, help="directory for gpu.md and gpu.json")
    options = parser.parse_args()
    report = Report(driver=driver_version())
    sys.path.insert(0, str(HERE))
    from work import KINDS

    kinds = [kind for kind in KINDS if options.two_gpus or kind not in TWO_GPUS]
    if options.only:
        kinds = [kind for kind in kinds if any(word.lower() in kind.lower() for word in options.only)]
    with tempfile.TemporaryDirectory(prefix="cuda-shim-gpu-") as name:
        place = Path(name)
        subprocess.run(["make", "--silent", "-C", SHIM, f"BUILD={place}"], check=True)
        shim = place / "libdynamo_fault_cuda.so"
        for kind in kinds:
            report.rows.append(probe(kind, shim, place, report))
            print(report.rows[-1], file=sys.stderr, flush=True)
        if not options.no_cost:
            measure(shim, place, report)
            measure_torch(shim, place, report)
        unlisted(report)
    print(table(report))
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "gpu.md").write_text(table(report) + "\n")
        (options.out / "gpu.json").write_text(json.dumps(asdict(report), indent=1))
    for miss in report.misses:
        print(f"MISSED: {miss}")
    return 1 if report.misses else 0


if __name__ == "__main__":
    sys.exit(main())
