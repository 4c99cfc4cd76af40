"""Keywords that show what the processes of a replica were told: their command line and their environment."""

import shlex
from collections.abc import Iterator

from robot.api.deco import keyword

from DynamoFaultLibrary.errors import DeploymentError, Unready
from DynamoFaultLibrary.keywords.calling import on_graph
from DynamoFaultLibrary.keywords.component import Component, Operator, check, check_assertion
from DynamoFaultLibrary.platforms.base import require
from DynamoFaultLibrary.platforms.replicas import Replica
from DynamoFaultLibrary.platforms.running import Inspecting, RunningProcess


class RunningKeywords(Component):
    """Get Command Line, Get Process Variable."""

    @keyword(tags=["Getter"])
    @on_graph
    def get_command_line(
        self,
        service: str,
        assertion_operator: Operator = None,
        assertion_expected: str | None = None,
        message: str | None = None,
        *,
        replica: int | str | None = None,
        process_name: str | None = None,
    ) -> str:
        """Returns the command line of a running replica, as the operating system shows it, quoted as for a shell.

        It is that of the replica's first process, or of the first one whose command line contains ``process_name``. The
        text of a script does not count for that: a shell that waits for a program names it, too.

        Optionally asserts the value, see `Assertions`. Without ``replica`` (an index or a name) the assertion must hold
        for each running replica of the service; the value of the first one is returned. Fails when none runs.

        Example:
        | `Get Command Line` | Frontend | contains | --migration-limit 3 | process_name=dynamo.frontend |
        """
        check_assertion(str, assertion_operator, assertion_expected, "Command line")
        values = []
        for name, process in self._processes(service, replica, process_name):
            what = f"Command line of {name} ({process.name})"
            values.append(check(shlex.join(process.command), assertion_operator, assertion_expected, what, message))
        return str(values[0])

    @keyword(tags=["Getter"])
    @on_graph
    def get_process_variable(
        self,
        service: str,
        name: str,
        assertion_operator: Operator = None,
        assertion_expected: str | None = None,
        message: str | None = None,
        *,
        replica: int | str | None = None,
        process_name: str | None = None,
    ) -> str:
        """Returns an environment variable that a process of a running replica was started with.

        ``replica`` and ``process_name`` choose as in `Get Command Line`, and an assertion holds for as many. Fails when
        a process does not have the variable.

        Example:
        | `Get Process Variable` | PositionWorker | DYN_LOG | ``==`` | debug |
        """
        check_assertion(str, assertion_operator, assertion_expected, f"Variable {name}")
        values = []
        for owner, process in self._processes(service, replica, process_name):
            if name not in process.environment:
                raise DeploymentError(f"{owner} ({process.name}) was started without a variable '{name}'")
            what = f"Variable {name} of {owner} ({process.name})"
            values.append(check(process.environment[name], assertion_operator, assertion_expected, what, message))
        return str(values[0])

    def _processes(
        self, service: str, wanted: int | str | None, process_name: str | None
    ) -> Iterator[tuple[str, RunningProcess]]:
        """One process of each replica that is meant, by the replica's name; at least one."""
        platform = require(self.context.platform, Inspecting)
        for replica in self._replicas(service, wanted):
            found = platform.inspect(replica)
            chosen = [one for one in found if process_name is None or process_name in _without_scripts(one)]
            if not found:
                raise Unready(f"{replica.name} has no process that shows a command line (log: {replica.log})")
            if not chosen:
                running = "; ".join(shlex.join(one.command) for one in found)
                raise DeploymentError(
                    f"no process of {replica.name} has '{process_name}' in its command line; running are: {running}"
                )
            yield replica.name, chosen[0]

    def _replicas(self, service: str, wanted: int | str | None) -> list[Replica]:
        running = self.context.platform.replicas(self.context.deployment, service)
        chosen = [one for one in running if wanted is None or str(wanted) in (str(one.index), one.name)]
        if not chosen:
            what = f"service '{service}' has no running replica" + (f" '{wanted}'" if wanted is not None else "")
            raise Unready(f"{what}; running are {[one.index for one in running]}")
        return chosen


def _without_scripts(process: RunningProcess) -> str:
    """Its command line without the words that have spaces, such as the script of a shell."""
    return " ".join(word for word in process.command if len(word.split()) == 1)
