"""The supervisor: a process of its own that starts, watches and ends all that a run puts on this machine.

It is no descendant of robot (pabot kills those first) and talks with robot over one socket, in lines of JSON. End of
file on that socket means that robot is gone, in whatever way: then each guarded fault is undone, each process group
is ended, each directory removed, and the supervisor ends. Its children die with it (PR_SET_PDEATHSIG), and should it be
killed itself, its sentinel takes off what is left.

Started by `DynamoFaultLibrary.platforms.local.client`.
"""

import asyncio
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from DynamoFaultLibrary.clock import monotonic, utc_now
from DynamoFaultLibrary.errors import FaultLibraryError, LedgerError
from DynamoFaultLibrary.ledger import Entry, Ledger, Owner, State
from DynamoFaultLibrary.ledger.recovery import problems, recover
from DynamoFaultLibrary.ledger.undo import DEPLOYMENT_VARIABLE, undo
from DynamoFaultLibrary.platforms.local.child import Child, ProcessSpec, become_subreaper
from DynamoFaultLibrary.platforms.local.job import Job
from DynamoFaultLibrary.platforms.local.sentinel import Sentinel
from DynamoFaultLibrary.processes import ProcessId, group_members

logger = logging.getLogger("supervisor")
GRACE = 3.0
"""Seconds that robot gets to tear down after pabot was killed."""

Handler = Callable[..., Awaitable[Any]]


class Supervisor:
    """Serves one client until the end of its life."""

    def __init__(
        self, ledger: Ledger, sentinel: Sentinel, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.ledger = ledger
        self.sentinel = sentinel
        self.reader = reader
        self.writer = writer
        self.children: dict[str, Child] = {}
        self.directories: dict[str, Entry] = {}
        self.guarded: dict[str, Entry] = {}
        self.timers: dict[str, asyncio.TimerHandle] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.calls: dict[str, Handler] = {
            "start": self.start,
            "restart": self.restart,
            "status": self.status,
            "wait_exit": self.wait_exit,
            "end": self.end,
            "own_directory": self.own_directory,
            "remove_directory": self.remove_directory,
            "guard": self.guard,
            "release": self.release,
        }

    async def serve(self) -> None:
        """Answer calls until the client is gone, then undo everything."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)
        while line := await self.reader.readline():
            self._spawn(self._answer(json.loads(line)))
        await self._finish()

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _answer(self, request: dict[str, Any]) -> None:
        reply: dict[str, Any] = {"id": request["id"]}
        try:
            reply["result"] = await self.calls[request["call"]](**request["arguments"])
        except (FaultLibraryError, OSError) as error:
            reply["error"] = str(error)
        except Exception as error:
            logger.exception("call %s failed", request.get("call"))
            reply["error"] = f"{type(error).__name__}: {error}"
        if not self.writer.is_closing():
            self.writer.write(json.dumps(reply).encode() + b"\n")

    def _reap(self) -> None:
        by_pid = {child.identity.pid: child for child in self.children.values() if child.exit is None}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in by_pid:
                by_pid[pid].ended(status)
            elif pid == self.sentinel.pid:
                logger.warning("the sentinel was ended from outside; starting another")
                self.sentinel.start()

    # Calls

    async def start(self, spec: dict[str, Any]) -> dict[str, Any]:
        """Start a process group; it goes into the ledger so that anybody can end it."""
        return self._start(ProcessSpec(**spec), generation=0).to_json()

    def _start(self, spec: ProcessSpec, generation: int) -> Child:
        identity = Child.start(spec)
        recipe = {"action": "end", "leader": identity.to_json(), "mark": spec.env.get(DEPLOYMENT_VARIABLE, "")}
        try:
            entry = self.ledger.intend("process", {"name": spec.name}, recipe, is_fault=False)
        except LedgerError:
            undo(recipe)
            raise
        child = Child(spec, identity, entry, generation)
        self.children[spec.name] = child
        logger.info("started %s as pid %d", spec.name, identity.pid)
        return child

    async def restart(self, name: str) -> dict[str, Any]:
        """Start the process group of that name again, unless it runs."""
        child = self._child(name)
        if child.exit is None and child.identity.is_running:
            return child.to_json()
        await self.end([name])
        return self._start(child.spec, child.generation + 1).to_json()

    async def status(self) -> list[dict[str, Any]]:
        """All process groups, ended ones included."""
        return [child.to_json() for child in self.children.values()]

    async def wait_exit(self, name: str, timeout: float) -> dict[str, Any]:
        """Return the state of a process group as soon as its leader has ended, or after `timeout` seconds."""
        child = self._child(name)
        with suppress(TimeoutError):
            await asyncio.wait_for(child.exited.wait(), timeout)
        return child.to_json()

    async def end(self, names: list[str]) -> None:
        """Kill process groups and wait until nobody is left in them."""
        children = [self._child(name) for name in names]
        for child in children:
            for member in group_members(child.identity.pid):
                member.send(signal.SIGKILL)
        await asyncio.gather(*(self._undo(child.entry) for child in children))

    async def own_directory(self, path: str) -> None:
        """Make a directory that goes away with this run."""
        entry = self.ledger.intend("directory", {"path": path}, {"action": "remove", "path": path}, is_fault=False)
        Path(path).mkdir(parents=True)
        self.directories[path] = entry

    async def remove_directory(self, path: str) -> None:
        """Remove such a directory now."""
        await self._undo(self.directories.pop(path))

    async def guard(self, entry: dict[str, Any]) -> None:
        """Undo this fault when its time is over or the client is gone. Guarding it again moves its expiry."""
        guarded = Entry.from_json(entry)
        self._forget(guarded.id)
        self.guarded[guarded.id] = guarded
        if guarded.expires_at:
            self.timers[guarded.id] = asyncio.get_running_loop().call_later(
                max(0.0, (guarded.expires_at - utc_now()).total_seconds()), self._expire, guarded.id
            )

    async def release(self, identity: str) -> None:
        """Stop guarding a fault: the client has undone it."""
        self._forget(identity)

    # Undoing

    def _child(self, name: str) -> Child:
        if name not in self.children:
            raise FaultLibraryError(f"the supervisor has no process group '{name}'; it has {list(self.children)}")
        return self.children[name]

    def _forget(self, identity: str) -> None:
        self.guarded.pop(identity, None)
        timer = self.timers.pop(identity, None)
        if timer:
            timer.cancel()

    def _expire(self, identity: str) -> None:
        entry = self.guarded.get(identity)
        if entry:
            self._forget(identity)
            self._spawn(self._undo(entry, "its time was over: "))

    async def _undo(self, entry: Entry, reason: str = "") -> None:
        if not entry.state.is_open:
            return
        try:
            if entry.undo.get("action") == "respawn":
                child = await self.restart(entry.undo["name"])
                done = f"runs as pid {child['process']['pid']}"
            else:
                done = await asyncio.to_thread(undo, entry.undo)
        except FaultLibraryError as error:
            logger.error("%s is not undone: %s", entry.id, error)
            raise
        logger.info("%s undone: %s%s", entry.id, reason, done)
        try:
            self.ledger.mark(entry, State.RECOVERED, reason + done)
        except LedgerError as error:
            logger.error("%s", error)

    async def _finish(self) -> None:
        began = monotonic()
        logger.info("the client is gone; undoing %d faults", len(self.guarded))
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        faults = [entry for entry in self.guarded.values() if entry.undo.get("action") != "respawn"]
        replaced = [entry for entry in self.guarded.values() if entry.undo.get("action") == "respawn"]
        for identity in list(self.guarded):
            self._forget(identity)
        await asyncio.gather(*(self._undo(entry, "the run ended: ") for entry in faults), return_exceptions=True)
        await asyncio.gather(self.end(list(self.children)), return_exceptions=True)
        for entry in replaced:
            self.ledger.mark(entry, State.RECOVERED, "the run ended, and its deployment with it")
        for path in list(self.directories):
            await asyncio.gather(self.remove_directory(path), return_exceptions=True)
        await asyncio.to_thread(self._sweep)
        logger.info("all undone after %.3f s", monotonic() - began)

    def _sweep(self) -> None:
        """Undo what the ledger holds and we were never told of: the client died between writing and telling."""
        if self.ledger.path.exists():
            client = self.ledger.owner
            for line in problems([recover(self.ledger.path, force=True, concerns=lambda e: e.owner == client)]):
                logger.error("%s", line)


async def _serve(connection: socket.socket, ledger: Ledger, sentinel: Sentinel, job: Job) -> None:
    if job.pabot:
        _watch_pabot(job.pabot, job.client, job.pabot_helpers)
    reader, writer = await asyncio.open_connection(sock=connection, limit=2**24)
    await Supervisor(ledger, sentinel, reader, writer).serve()
    sentinel.dismiss()


def _watch_pabot(pabot: ProcessId, robot: ProcessId, helpers: list[ProcessId]) -> None:
    """When pabot is gone, robot has been told by the kernel; end it if it does not listen, and pabot's own server."""
    loop = asyncio.get_running_loop()

    def gone() -> None:
        logger.info("pabot is gone; robot has %.1f s to tear down", GRACE)
        for helper in helpers:
            helper.send(signal.SIGTERM)
        loop.call_later(GRACE, robot.send, signal.SIGKILL)

    try:
        descriptor = os.pidfd_open(pabot.pid)
    except ProcessLookupError:
        gone()
        return

    def seen() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        gone()

    loop.add_reader(descriptor, seen)


def main(job: Job) -> None:
    """Detach from the caller, then serve. Logs to standard error."""
    if os.fork() > 0:
        os._exit(0)
    connection = socket.socket(fileno=job.descriptor)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    become_subreaper()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logger.info("supervisor %d of run %s, client %d", os.getpid(), job.run, job.client.pid)
    ledger = Ledger(job.run, Owner(job.client))
    sentinel = Sentinel(ledger.path, job.client, connection.fileno())
    sentinel.start()
    asyncio.run(_serve(connection, ledger, sentinel, job))


if __name__ == "__main__":
    main(Job.from_text(sys.argv[1]))
