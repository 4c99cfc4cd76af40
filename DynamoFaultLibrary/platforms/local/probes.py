"""A pod's startup and readiness probes, asked of the ports that its containers have been given here."""

import os
import signal
import socket
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from DynamoFaultLibrary.platforms.http import get_text
from DynamoFaultLibrary.platforms.local.pod import Container, Document, mapping

_TIMEOUT = 5.0


@dataclass(frozen=True)
class Probe:
    """One question: a URL that answers well, an address that takes connections, or a command that succeeds."""

    service: str
    url: str = ""
    address: tuple[str, int] | None = None
    command: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    directory: Path | None = None

    def __str__(self) -> str:
        where = f"{self.address[0]}:{self.address[1]}" if self.address else " ".join(self.command)
        return f"the probe of service '{self.service}', {self.url or where}"

    def problem(self) -> str:
        """Ask once; returns what is wrong, and nothing when it succeeds."""
        try:
            if self.url:
                get_text(self.url, _TIMEOUT)
            elif self.address:
                socket.create_connection(self.address, _TIMEOUT).close()
            else:
                return self._run()
        except (OSError, ValueError) as error:
            return str(error) or type(error).__name__
        return ""

    def _run(self) -> str:
        """Run the command in a group of its own, so that nothing that it started is left."""
        process = subprocess.Popen(
            self.command,
            env=self.environment,
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            status = process.wait(_TIMEOUT)
        except subprocess.TimeoutExpired:
            return f"it had not ended after {_TIMEOUT:g} s"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return f"exit status {status}" if status else ""


def find_probe(container: Container, service: Document) -> Document:
    """The probe that tells when a container is ready, else when it has started; an empty one when it has neither."""
    holders = [container.document, *([service] if container.is_main else [])]
    found = (mapping(holder, kind, container.name) for kind in ("readinessProbe", "startupProbe") for holder in holders)
    return next(filter(None, found), {})


def port_of(container: Container, target: Document) -> int | None:
    """The number of the pod's port that a probe asks; None when that cannot be known, or not be asked in plain HTTP."""
    if target.get("scheme", "HTTP") != "HTTP":
        return None
    port = target.get("port")
    if isinstance(port, int) or str(port).isdecimal():
        return int(str(port))
    return {"http": 8000, "system": 9090, **container.port_names}.get(str(port))
