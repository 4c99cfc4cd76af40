"""The supervisor: a process of its own that starts, watches and ends all that a run puts on this machine.

It is no descendant of robot (pabot kills those first) and talks with robot over one socket, in lines of JSON. End of
file on that socket means that robot is gone, in whatever way: then each guarded fault is undone, each process group
is ended, each directory removed, and the supervisor ends. Its children die with it (PR_SET_PDEATHSIG), and should it be
killed itself, its sentinel takes off what is left.

One thread and one loop, without asyncio: importing that would double the time that each run waits for its supervisor.

Started by `DynamoFaultLibrary.platforms.local.client`.
"""

import json
import logging
import math
import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from DynamoFaultLibrary.clock import monotonic, utc_now
from DynamoFaultLibrary.errors import FaultLibraryError, LedgerError, RecoveryError
from DynamoFaultLibrary.ledger import Entry, Ledger, Owner, State
from DynamoFaultLibrary.ledger.recovery import GONE_WITH_DEPLOYMENT, problems, recover
from DynamoFaultLibrary.ledger.store import make_private
from DynamoFaultLibrary.ledger.undo import undo
from DynamoFaultLibrary.platforms.local.child import IGNORED, Child, ProcessSpec
from DynamoFaultLibrary.platforms.local.job import Job
from DynamoFaultLibrary.platforms.local.sentinel import Sentinel
from DynamoFaultLibrary.platforms.local.undoers import DEPLOYMENT_VARIABLE, local_recipe
from DynamoFaultLibrary.processes import ProcessId, become_subreaper, group_members

logger = logging.getLogger("supervisor")
GRACE = 3.0
"""Seconds that robot gets to tear down after pabot was killed."""

LONGEST_SLEEP = 3600.0
"""Seconds that the loop sleeps at a time: a selector takes no number that is too large."""


class Loop:
    """Waits for readable descriptors, signals and deadlines; everything else happens in their callbacks."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._deadlines: dict[str, tuple[float, Callable[[], None]]] = {}
        self.running = True

    def watch(self, descriptor: int, callback: Callable[[], None]) -> None:
        """Call back whenever `descriptor` is readable."""
        self._selector.register(descriptor, selectors.EVENT_READ, callback)

    def forget(self, descriptor: int) -> None:
        """Watch it no more."""
        self._selector.unregister(descriptor)

    def on_child(self, callback: Callable[[], None]) -> None:
        """Call back after a child has changed its state."""
        reading, writing = socket.socketpair()
        for end in (reading, writing):
            end.setblocking(False)
        signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)

        def woken(kept: socket.socket = writing) -> None:
            reading.recv(4096)
            callback()

        self.watch(reading.fileno(), woken)

    def call_later(self, key: str, seconds: float, callback: Callable[[], None]) -> None:
        """Call back once after so many seconds; the same key replaces an earlier deadline."""
        self._deadlines[key] = (monotonic() + seconds, callback)

    def cancel(self, key: str) -> None:
        """Drop a deadline."""
        self._deadlines.pop(key, None)

    def run(self) -> None:
        """Go on until `running` is false."""
        while self.running:
            due = min((moment for moment, _ in self._deadlines.values()), default=None)
            left = LONGEST_SLEEP if due is None else min(max(0.0, due - monotonic()), LONGEST_SLEEP)
            for event, _ in self._selector.select(left):
                event.data()
            now = monotonic()
            for key in [key for key, (moment, _) in self._deadlines.items() if moment <= now]:
                self._call_due(key, now)

    def _call_due(self, key: str, now: float) -> None:
        """Call back, unless another callback has cancelled or moved this deadline since."""
        moment, callback = self._deadlines.get(key, (math.inf, None))
        if callback is None or moment > now:
            return
        self.cancel(key)
        try:
            callback()
        except Exception:
            logger.exception("what was due for '%s' failed", key)


class Supervisor:
    """Serves one client until the end of its life."""

    def __init__(self, job: Job, ledger: Ledger, sentinel: Sentinel, connection: socket.socket) -> None:
        self.job = job
        self.ledger = ledger
        self.sentinel = sentinel
        self.connection = connection
        self.loop = Loop()
        self.children: dict[str, Child] = {}
        self.directories: dict[str, Entry] = {}
        self.guarded: dict[str, Entry] = {}
        self.waiting: dict[int, str] = {}
        """Ids of calls that wait for a process to end, and its name."""
        self._received = b""

    def serve(self) -> None:
        """Answer calls until the client is gone, then undo everything."""
        self.loop.on_child(self._reap)
        self.loop.watch(self.connection.fileno(), self._receive)
        if self.job.pabot:
            self._watch_pabot(self.job.pabot)
        self.loop.run()
        self._finish()

    def _receive(self) -> None:
        try:
            data = self.connection.recv(2**16)
        except ConnectionError:
            data = b""
        if not data:
            self.loop.running = False
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            self._answer(json.loads(line))

    def _answer(self, request: dict[str, Any]) -> None:
        identity, arguments = request["id"], request["arguments"]
        try:
            if request["call"] == "wait_exit":
                self._wait_exit(identity, **arguments)  # replies when it has something to say
            else:
                self._reply(identity, getattr(self, f"call_{request['call']}")(**arguments))
        except Exception as error:
            if not isinstance(error, FaultLibraryError | OSError):
                logger.exception("call %s failed", request["call"])
            self._reply(identity, error=error)

    def _reply(self, identity: int, result: Any = None, error: Exception | None = None) -> None:
        reply: dict[str, Any] = {"id": identity, "result": result}
        if error is not None:
            reply["error"] = [type(error).__name__, str(error)]
        try:
            self.connection.sendall(json.dumps(reply).encode() + b"\n")
        except OSError:
            self.loop.running = False

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
                for identity in [key for key, name in self.waiting.items() if name == by_pid[pid].spec.name]:
                    self._end_waiting(identity)
            elif pid == self.sentinel.pid:
                logger.warning("the sentinel was ended from outside; starting another")
                try:
                    self.sentinel.start()
                except OSError as error:  # no process or descriptor is left for it; go on without
                    logger.error("no sentinel can be started: %s", error)

    # Calls of the client

    def call_start(self, spec: dict[str, Any]) -> dict[str, Any]:
        """Start a process group; it goes into the ledger so that anybody can end it."""
        return self._start(ProcessSpec(**spec), generation=0).to_json()

    def call_restart(self, name: str, victim: dict[str, Any], argv: list[str] | None = None) -> dict[str, Any]:
        """End what is left of the group that `victim` led and start it again, unless that was done already.

        With `argv` it is another command from now on.
        """
        child = self._child(name)
        if child.identity != ProcessId.from_json(victim) and child.exit is None:
            return child.to_json()
        self._end([child])
        spec = replace(child.spec, argv=argv) if argv else child.spec
        return self._start(spec, child.generation + 1).to_json()

    def call_change_environment(self, name: str, changes: dict[str, str | None]) -> None:
        """Set (or, with None, unset) variables of a process group from its next start on."""
        child = self._child(name)
        changed = {**child.spec.env, **changes}
        child.spec = replace(child.spec, env={key: value for key, value in changed.items() if value is not None})

    def call_status(self) -> list[dict[str, Any]]:
        """All process groups, ended ones included."""
        return [child.to_json() for child in self.children.values()]

    def call_end(self, names: list[str]) -> None:
        """Kill process groups for good: nobody is left in them, and no fault's expiry starts one again.

        Those that an earlier try has ended are left alone, so that it can be tried again.
        """
        there = [name for name in names if name in self.children]
        self._end([self.children[name] for name in there])
        for name in there:
            del self.children[name]
        for entry in list(self.guarded.values()):
            if entry.undo.get("action") == "respawn" and entry.undo["name"] in names:
                self.call_release(entry.id)
                self._close(entry, GONE_WITH_DEPLOYMENT)

    def call_own_directory(self, path: str) -> None:
        """Make a directory that goes away with this run."""
        entry = self.ledger.intend("directory", {"path": path}, local_recipe("remove", path=path), is_fault=False)
        make_private(Path(path).parent)
        Path(path).mkdir(mode=0o700)
        self.directories[path] = entry

    def call_remove_directory(self, path: str) -> None:
        """Remove such a directory now, unless that was done."""
        if path in self.directories:
            self._undo(self.directories[path])
            del self.directories[path]

    def call_guard(self, entry: dict[str, Any]) -> None:
        """Undo this fault when its time is over or the client is gone. Guarding it again moves its expiry."""
        guarded = Entry.from_json(entry)
        self.guarded[guarded.id] = guarded
        if guarded.expires_at:
            left = (guarded.expires_at - utc_now()).total_seconds()
            self.loop.call_later(guarded.id, left, lambda: self._expire(guarded.id))

    def call_release(self, identity: str) -> None:
        """Stop guarding a fault: the client has undone it."""
        self.guarded.pop(identity, None)
        self.loop.cancel(identity)

    def _wait_exit(self, identity: int, name: str, timeout: float) -> None:
        """Reply with the state of a process group when its leader has ended, or after `timeout` seconds."""
        self.waiting[identity] = name
        if self._child(name).exit is not None:
            self._end_waiting(identity)
        else:
            self.loop.call_later(f"wait {identity}", timeout, lambda: self._end_waiting(identity))

    def _end_waiting(self, identity: int) -> None:
        self.loop.cancel(f"wait {identity}")
        self._reply(identity, self._child(self.waiting.pop(identity)).to_json())

    def _start(self, spec: ProcessSpec, generation: int) -> Child:
        identity = Child.start(spec)
        recipe = local_recipe("end", leader=identity.to_json(), mark=spec.env.get(DEPLOYMENT_VARIABLE, ""))
        try:
            entry = self.ledger.intend("process", {"name": spec.name}, recipe, is_fault=False)
        except LedgerError:
            undo(recipe)
            raise
        child = Child(spec, identity, entry, generation)
        self.children[spec.name] = child
        logger.info("started %s as pid %d", spec.name, identity.pid)
        return child

    def _end(self, children: list[Child]) -> None:
        """Kill process groups and wait until nobody is left in them."""
        for child in children:
            for member in group_members(child.identity.pid):
                member.send(signal.SIGKILL)
        failures = [failure for child in children if (failure := self._try_undo(child.entry))]
        self._reap()
        if failures:
            raise RecoveryError("; ".join(failures))

    def _child(self, name: str) -> Child:
        if name not in self.children:
            raise FaultLibraryError(f"the supervisor has no process group '{name}'; it has {list(self.children)}")
        return self.children[name]

    # Undoing

    def _expire(self, identity: str) -> None:
        """Undo a fault, and with it those that come off by the same deed. What fails is tried again at the end."""
        if identity not in self.guarded:
            return
        recipe = self.guarded[identity].undo
        for entry in [entry for entry in self.guarded.values() if entry.undo == recipe]:
            if self._try_undo(entry, "its time was over: ") is None:
                self.call_release(entry.id)

    def _try_undo(self, entry: Entry, reason: str = "") -> str | None:
        """Undo, and return what went wrong, whatever it was: there are others to undo."""
        try:
            self._undo(entry, reason)
        except Exception as error:
            logger.error("%s is not undone: %r", entry.id, error, exc_info=not isinstance(error, FaultLibraryError))
            return str(error) or repr(error)
        return None

    def _undo(self, entry: Entry, reason: str = "") -> None:
        if not entry.state.is_open:
            return
        if entry.undo.get("action") == "respawn":
            started = self.call_restart(entry.undo["name"], entry.undo["victim"])
            done = f"started again as pid {started['process']['pid']}"
        else:
            done = undo(entry.undo, self.ledger.state)
        logger.info("%s undone: %s%s", entry.id, reason, done)
        self._close(entry, reason + done)

    def _close(self, entry: Entry, detail: str) -> None:
        try:
            self.ledger.mark(entry, State.RECOVERED, detail)
        except LedgerError as error:
            logger.error("%s", error)

    def _finish(self) -> None:
        """Undo what we know of, then what the ledger alone knows: the client may have died before it told us."""
        began = monotonic()
        logger.info("the client is gone; undoing %d faults", len(self.guarded))
        for entry in reversed(self.guarded.values()):
            if entry.undo.get("action") != "respawn":  # its deployment ends, so nothing is started again
                self._try_undo(entry, "the run ended: ")
        try:
            self._end(list(self.children.values()))
        except Exception as error:
            logger.error("%r", error)
        for entry in self.directories.values():
            self._try_undo(entry)
        try:
            self._finish_by_ledger()
        except Exception as error:
            logger.error("%r", error)
        logger.info("all undone after %.3f s", monotonic() - began)
        if self.job.pabot and not self.job.pabot.is_running:
            self._end_pabots_helpers()  # robot may be gone before we have seen pabot's end

    def _finish_by_ledger(self) -> None:
        if self.ledger.path.exists():
            client = self.ledger.owner
            for line in problems([recover(self.ledger.path, force=True, concerns=lambda e: e.owner == client)]):
                logger.error("%s", line)

    # Pabot

    def _watch_pabot(self, pabot: ProcessId) -> None:
        try:
            descriptor = os.pidfd_open(pabot.pid)
        except ProcessLookupError:
            self._pabot_is_gone()
            return

        def seen() -> None:
            self.loop.forget(descriptor)
            os.close(descriptor)
            self._pabot_is_gone()

        self.loop.watch(descriptor, seen)

    def _pabot_is_gone(self) -> None:
        """The kernel has told robot; end it if it does not listen, and pabot's own server at once."""
        logger.info("pabot is gone; robot has %.1f s to tear down", GRACE)
        self._end_pabots_helpers()
        self.loop.call_later("pabot", GRACE, self._end_robot)

    def _end_pabots_helpers(self) -> None:
        for helper in self.job.pabot_helpers:
            helper.send(signal.SIGKILL)

    def _end_robot(self) -> None:
        self.job.client.send(signal.SIGKILL)


def main(job: Job) -> None:
    """Detach from the caller, then serve. Logs to standard error."""
    if os.fork() > 0:
        os._exit(0)
    connection = socket.socket(fileno=job.descriptor)
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    become_subreaper()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logger.info("supervisor %d of run %s, client %d", os.getpid(), job.run, job.client.pid)
    ledger = Ledger(job.run, Owner(job.client))
    sentinel = Sentinel(ledger.path, job.client, connection.fileno())
    sentinel.start()
    Supervisor(job, ledger, sentinel, connection).serve()
    sentinel.dismiss()


if __name__ == "__main__":
    main(Job.from_text(sys.argv[1]))
