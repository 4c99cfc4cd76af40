"""Keywords that make CUDA calls of a replica fail, without touching a GPU."""

from datetime import timedelta

from robot.api.deco import keyword

from DynamoFaultLibrary.clock import seconds_text, wait_until
from DynamoFaultLibrary.errors import FaultError, RecoveryError
from DynamoFaultLibrary.faults.injector import ActiveFault, Fault
from DynamoFaultLibrary.faults.target import RANDOM
from DynamoFaultLibrary.keywords import robot_context
from DynamoFaultLibrary.keywords.calling import on_graph
from DynamoFaultLibrary.keywords.component import Count, NameList, Operator, check
from DynamoFaultLibrary.keywords.injecting import InjectingComponent
from DynamoFaultLibrary.load.client import Request
from DynamoFaultLibrary.nodes.xid import XIDS
from DynamoFaultLibrary.platforms.base import CudaShimming, Deployment, require
from DynamoFaultLibrary.platforms.cuda import CudaPlatform
from DynamoFaultLibrary.platforms.effects import ALL_GPUS, CudaRule, FailingCudaCalls
from DynamoFaultLibrary.platforms.replicas import Replica
from DynamoFaultLibrary.times import check_fault_time

KIND = "Enable Cuda Faults"
RESTART_TIMEOUT = timedelta(seconds=120)


class CudaKeywords(InjectingComponent):
    """The shim on and off, faults on and off, and what they did."""

    @keyword(tags=["Deployment"])
    def set_up_cuda_shim(self, services: NameList, *, restart: bool = True) -> None:
        """Has the replicas of ``services`` run under the CUDA shim: a preloaded library that lets every call go on.

        It holds for replicas that start from now on. Those that run already are started again once (or, with
        ``restart=False``, when something else starts them again). Each replica has a toggle of its own, so that
        `Enable Cuda Faults` can choose among them. The shim is built with gcc and make when it is first needed, and
        kept in the state directory; where it cannot be built, the test is skipped with the reason. It is for all
        graphs: where some are deployed, one of them must have each of ``services``.

        It is in place until `Remove Cuda Shim`, or the end of the suite; another call replaces ``services``.

        Example:
        | `Set Up Cuda Shim` | VllmWorker |
        | `Deploy Graph` | vllm-agg.yaml |
        """
        if not services or not all(services):
            raise FaultError("services names none; give those whose replicas shall run under the CUDA shim")
        platform = self._platform()
        graphs = {alias: deployment.graph for alias, deployment in self.context.graphs.items()}
        for service in services:
            if graphs and not any(service in graph.services for graph in graphs.values()):
                there = "; ".join(f"'{alias}' has {', '.join(graph.services)}" for alias, graph in graphs.items())
                raise FaultError(f"services names '{service}', which no deployed graph has: {there}")
        platform.shim_cuda(services)
        self.context.cuda_suite = robot_context.suite_name()
        self._apply(restart, RESTART_TIMEOUT)
        self.info(f"replicas of {', '.join(services)} run under the CUDA shim from their next start on")

    @keyword(tags=["Deployment"])
    def set_up_cuda_passthrough(self, services: NameList, *, restart: bool = True) -> None:
        """`Set Up Cuda Shim`, by the name that it has in other test suites for Dynamo."""
        self.set_up_cuda_shim(services, restart=restart)

    @keyword(tags=["Recovery"])
    def remove_cuda_shim(self, *, restart: bool = True) -> None:
        """Takes the shim away: disables its faults, and starts the replicas that run under it again without it.

        Verified: no process of theirs has the shim mapped. With ``restart=False`` replicas that run keep the shim,
        which lets every call go on, until something else starts them again.

        Example:
        | `Remove Cuda Shim` |
        """
        active = self.context.injector.active
        self.recover_together([each for each in active if each.entry.kind == KIND])
        platform = self._platform()
        platform.shim_cuda([])
        self._apply(restart, RESTART_TIMEOUT)
        left = [
            f"{process} of {replica.name}"
            for deployment in self.context.deployments
            for replica in self._replicas(deployment)
            for process in platform.shimmed_processes(replica)
        ]
        if restart and left:
            raise RecoveryError(f"the CUDA shim is still mapped by {', '.join(left)}")

    @keyword(tags=["Fault"])
    @on_graph
    def enable_cuda_faults(
        self,
        service: str,
        replica: int | str = RANDOM,
        *,
        xid: int = 79,
        serving: Request | None = None,
        gpu: str = ALL_GPUS,
        error: int | None = None,
        sticky: bool | None = None,
        classes: NameList | None = None,
        after_calls: int = 0,
        delay: timedelta = timedelta(0),
        probability: float = 1.0,
        until_restart: bool = False,
        timeout: timedelta = timedelta(seconds=10),
        ttl: timedelta | None = None,
    ) -> str:
        """Makes the CUDA calls of one replica fail as after an XID, while it runs. Returns the id of the fault.

        | *Argument* | *Meaning* |
        | ``service``, ``replica``, ``serving``, ``ttl`` | As in `Kill Worker` |
        | ``xid`` | What has happened to the GPU; error and stickiness follow from it (``docs/cuda-shim.md``) |
        | ``gpu`` | ``all``, an index as the process counts its GPUs, or a UUID; calls on others go on |
        | ``error`` | The CUDA error, instead of the XID's |
        | ``sticky`` | Whether after one failed call on a GPU all fail; instead of the error's |
        | ``classes`` | Only these: ``device, module, memory, copy, launch, graph, wait, stream`` |
        | ``after_calls``, ``delay`` | So many calls, and so much time, go on first |
        | ``probability`` | Chance of each call to fail; drawn by the library's ``seed`` |
        | ``until_restart`` | As with real sticky errors: `Disable Cuda Faults` starts the replica again |
        | ``timeout`` | By when a call must have failed; the replica must be at work, such as serve a request |

        XID 79 is "GPU has fallen off the bus"; the memory page fault is XID 31.

        Evidence: the shim's counters show failed calls in this replica, and none in any other that runs under the shim.
        Undo: the toggle is off, and each process has read that.

        Example:
        | `Enable Cuda Faults` | VllmWorker | serving=${request} | xid=79 |
        | `Enable Cuda Faults` | VllmWorker | 0 | xid=48 | classes=launch, copy | probability=0.1 |
        """
        if gpu != ALL_GPUS and not gpu.isdigit() and not gpu.startswith("GPU-"):
            raise FaultError(f"gpu must be 'all', an index such as 0, or a UUID that begins with GPU-, not '{gpu}'")
        rule = CudaRule(
            xid,
            gpu,
            error,
            sticky,
            classes or (),
            after_calls,
            delay,
            probability,
            self.context.options.seed,
            until_restart,
        )
        check_fault_time("timeout", timeout)
        chosen, deployment = self.choose(service, replica, serving), self.context.deployment
        effect = self._platform().plan_cuda(deployment, chosen, rule, timeout)
        return self.inject(Fault(KIND, deployment, [[chosen]], effect), ttl, serving, f"{XIDS[xid]} in {chosen.name}")

    @keyword(tags=["Recovery"])
    @on_graph
    def disable_cuda_faults(self, service: str | None = None) -> None:
        """Lets CUDA calls go on again, of all replicas or those of one service, and verifies it.

        Fails when there was nothing to disable.

        Example:
        | `Disable Cuda Faults` | VllmWorker |
        """
        active = self._active(service)
        if not active:
            where = f" of service '{service}'" if service else ""
            raise FaultError(f"no CUDA fault{where} is active; active are {self.active_names()}")
        self.recover_together(active)

    @keyword(tags=["Fault"])
    @on_graph
    def toggle_cuda_faults(
        self,
        enable: bool,
        service: str | None = None,
        replica: int | str | None = None,
        *,
        xid: int | None = None,
        timeout: timedelta | None = None,
    ) -> str | None:
        """`Enable Cuda Faults` on one replica of ``service`` with ``True``, `Disable Cuda Faults` with ``False``.

        Returns the id of the fault with ``True``. ``replica``, ``xid`` and ``timeout`` go with ``True`` alone, and have
        the defaults of `Enable Cuda Faults`.

        Example:
        | `Toggle Cuda Faults` | True | VllmWorker | 0 |
        | `Toggle Cuda Faults` | False |
        """
        options = {"replica": replica, "xid": xid, "timeout": timeout}
        given = {name: value for name, value in options.items() if value is not None}
        if enable:
            if service is None:
                raise FaultError("no service is named; give the one whose CUDA calls shall fail")
            fault: str = self.enable_cuda_faults(service, **given)
            return fault
        if given:
            raise FaultError(f"{' and '.join(given)} would have no effect: CUDA faults are disabled, not enabled")
        self.disable_cuda_faults(service)
        return None

    @keyword(tags=["Check"])
    @on_graph
    def cuda_faults_should_be_visible(
        self, service: str | None = None, *, timeout: timedelta = timedelta(seconds=10)
    ) -> None:
        """Fails unless calls fail right now where CUDA faults are enabled: new ones are awaited for ``timeout``.

        Example:
        | `Cuda Faults Should Be Visible` | VllmWorker |
        """
        active = [(each.entry.target["replica"], each.fault.effect) for each in self._active(service)]
        effects = [(name, effect) for name, effect in active if isinstance(effect, FailingCudaCalls)]
        if not effects:
            raise FaultError("no CUDA fault is active, so none can be visible")
        for name, effect in effects:
            before = effect.failures
            if not self._fails_again(effect, before, timeout):
                limit = seconds_text(timeout.total_seconds())
                raise AssertionError(f"no further CUDA call of {name} failed within {limit}: {before} have")

    @keyword(tags=["Getter"])
    @on_graph
    def get_failed_cuda_calls(
        self,
        service: str,
        assertion_operator: Operator = None,
        assertion_expected: Count | None = None,
        message: str | None = None,
    ) -> int:
        """Returns how many CUDA calls the shim has made fail in a service's present processes.

        Fails when no replica of the service runs under the shim: then nobody counts. Optionally asserts the value, see
        `Assertions`.

        Example:
        | `Get Failed Cuda Calls` | VllmWorker | > | 0 |
        """
        platform = self._platform()
        toggles = [platform.cuda_toggle(replica) for replica in platform.replicas(self.context.deployment, service)]
        under_shim = [toggle for toggle in toggles if toggle is not None]
        if not under_shim:
            raise FaultError(
                f"no replica of service '{service}' runs under the CUDA shim; call 'Set Up Cuda Shim' first"
            )
        failed = sum(each.failures for toggle in under_shim for each in toggle.counters())
        what = f"Failed CUDA calls of {service}"
        return int(check(failed, assertion_operator, assertion_expected, what, message))

    def _platform(self) -> CudaPlatform:
        require(self.context.platform, CudaShimming)  # the one that its platform lacks, if it lacks one
        return require(self.context.platform, CudaPlatform)

    def _active(self, service: str | None) -> list[ActiveFault]:
        if service is not None:
            self.context.deployment.graph.service(service)
        ours = [active for active in self.active_here() if active.entry.kind == KIND]
        return [active for active in ours if service in (None, active.entry.target["service"])]

    def _replicas(self, deployment: Deployment) -> list[Replica]:
        of = self.context.platform.replicas
        return [replica for service in deployment.graph.services for replica in of(deployment, service)]

    def _apply(self, restart: bool, timeout: timedelta) -> None:
        """Start the replicas again that get or lose the shim thereby."""
        platform = self._platform()
        for deployment in self.context.deployments if restart else []:
            changed = [replica for replica in self._replicas(deployment) if platform.awaits_cuda_change(replica)]
            for replica in changed:
                started = platform.respawn(deployment, replica)
                self.info(f"{replica.name} was started again as {started.incarnation}")
            if changed:
                platform.wait_ready(deployment, timeout)

    def _fails_again(self, effect: FailingCudaCalls, before: int, timeout: timedelta) -> bool:
        return wait_until(lambda: effect.failures > before, timeout, self.context.platform.poll_s)
