"""A sending process that lets aiperf send: it takes the commands and writes the events of `sender`, for loads alone.

aiperf runs under a `keeper`, with which all its processes end, also when this one is killed. Its results lie in the
folder of the load.
"""

import json
import math
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from DynamoFaultLibrary.clock import wait_until
from DynamoFaultLibrary.errors import LoadError, Unsupported
from DynamoFaultLibrary.load import aiperf_files
from DynamoFaultLibrary.load.address import split_login
from DynamoFaultLibrary.load.plan import LoadPlan
from DynamoFaultLibrary.load.records import Endpoint
from DynamoFaultLibrary.modules import module_environment

_POLL = 0.05
PATIENCE = 10.0
"""Seconds that aiperf has to end after a signal, and its keeper to end what is left."""
_KEEPER = (sys.executable, "-m", "DynamoFaultLibrary.load.keeper")


def find_aiperf() -> str:
    """The program ``aiperf``: beside this Python, else on the path.

    Raises:
        Unsupported: it is not installed.
    """
    found = shutil.which("aiperf", path=str(Path(sys.executable).parent)) or shutil.which("aiperf")
    if found is None:
        raise Unsupported("engine=aiperf needs the program 'aiperf': install the extra 'aiperf' of this library")
    return found


def arguments_of(plan: LoadPlan, tokenizer: str, directory: Path) -> list[str]:
    """What to tell aiperf 0.13.

    Raises:
        LoadError: the plan asks for something that aiperf cannot do.
    """
    if plan.retries:
        raise LoadError("aiperf does not retry requests; use engine=native, or retries=0")
    if plan.think_time_s:
        raise LoadError("aiperf's clients do not pause between requests; use engine=native, or think_time=0")
    if plan.refused_pause_s != LoadPlan.refused_pause_s:
        raise LoadError(
            "aiperf's clients do not pause after a refused connection; use engine=native, or no refused_pause"
        )
    if split_login(plan.url)[1]:
        raise LoadError(
            "aiperf writes the address that it is given into its files, with the password; use engine=native, or an "
            "address without user and password"
        )
    workload = plan.workload
    options: dict[str, object] = {
        "--model": plan.model,
        "--url": plan.url,
        "--endpoint-type": "chat" if workload.endpoint is Endpoint.CHAT else "completions",
        "--tokenizer": tokenizer,
        "--concurrency": plan.concurrency,
        "--synthetic-input-tokens-mean": max(1, workload.input_tokens - workload.prefix_tokens),  # a prefix is added
        "--synthetic-input-tokens-stddev": workload.input_tokens_stddev,
        "--output-tokens-mean": workload.output_tokens,
        "--output-tokens-stddev": workload.output_tokens_stddev,
        "--request-timeout-seconds": plan.timeout_s,
        "--connection-reuse-strategy": plan.connections.value,
        "--random-seed": plan.seed,
        "--artifact-dir": directory,
        "--ui": "none",
    }
    if plan.total is not None:
        options["--request-count"] = plan.total
    if plan.duration_s is not None:
        options |= {"--benchmark-duration": plan.duration_s, "--benchmark-grace-period": plan.timeout_s}
    if plan.request_rate:
        options |= {"--request-rate": plan.request_rate, "--arrival-pattern": plan.arrival.value}
    if plan.ramp_s:
        options["--request-rate-ramp-duration" if plan.request_rate else "--concurrency-ramp-duration"] = plan.ramp_s
    if plan.warmup_requests:
        options["--warmup-request-count"] = plan.warmup_requests
    if plan.cancellation_rate:
        options["--request-cancellation-rate"] = plan.cancellation_rate * 100
        options["--request-cancellation-delay"] = plan.cancellation_delay_s
    if workload.prefix_tokens:
        options |= {"--num-prefix-prompts": workload.prefixes, "--prefix-prompt-length": workload.prefix_tokens}
    # As one JSON object: of `name:value` aiperf would keep a text's quotes, and split a value at its commas.
    least = {} if workload.output_tokens_stddev else {"min_tokens": workload.output_tokens}
    options["--extra-inputs"] = json.dumps({"ignore_eos": True, **least, "temperature": 0, **workload.extra_body})
    flags = ["--streaming"] if workload.streaming else []
    return [*(str(part) for option in options.items() for part in option), *flags]


class AiperfProcess:
    """aiperf at work."""

    def __init__(self, plan: LoadPlan, tokenizer: str, directory: Path) -> None:
        self.records = directory / aiperf_files.RECORDS_FILE
        self.log = directory / "aiperf.log"
        self._stopped = False
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*_KEEPER, find_aiperf(), "profile", *arguments_of(plan, tokenizer, directory)],
                stdin=subprocess.PIPE,  # it closes when we end, however that comes
                stdout=log,
                stderr=subprocess.STDOUT,
                env=module_environment(),
                start_new_session=True,
            )
        threading.Thread(target=self._watch, args=(directory,), daemon=True).start()

    def stop(self) -> None:
        """Let it start no more requests."""
        self._stopped = True
        self._process.send_signal(signal.SIGINT)

    def end(self) -> None:
        """End it, at once if it does not end by itself."""
        self.stop()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(PATIENCE)
        assert self._process.stdin is not None  # noqa: S101  # it was opened as a pipe
        self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(PATIENCE)

    def _watch(self, directory: Path) -> None:
        wait_until(lambda: self._process.poll() is not None or self._has_records(), math.inf, _POLL)
        if self._has_records():
            _emit(event="first")
        code = self._process.wait()
        complete = aiperf_files.was_completed(directory)
        error = "" if complete else f"aiperf ended with exit status {code} and no summary; see {self.log}"
        _emit(event="finished", was_stopped=self._stopped, tally={}, error=error)

    def _has_records(self) -> bool:
        return self.records.exists() and self.records.stat().st_size > 0


def _emit(**event: Any) -> None:
    with suppress(BrokenPipeError):
        print(json.dumps(event), flush=True)


def _main(directory: Path) -> None:
    process: AiperfProcess | None = None
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "load":
            process = AiperfProcess(LoadPlan.from_json(command["plan"]), command["tokenizer"], directory)
        elif process is not None:
            process.stop()
    if process is not None:
        process.end()


if __name__ == "__main__":
    _main(Path(sys.argv[1]).parent)
