"""What every platform that can run replicas under the CUDA shim must do; no CUDA call is made here."""

from datetime import timedelta

import pytest
from contract_bench import ONE_EACH, WORKER, Bench

from DynamoFaultLibrary.errors import EvidenceMissing, FaultError, Unsupported
from DynamoFaultLibrary.ledger.undo import undo
from DynamoFaultLibrary.platforms.base import Deployment
from DynamoFaultLibrary.platforms.cuda import CudaPlatform
from DynamoFaultLibrary.platforms.effects import CudaRule

MOMENT, MINUTE = timedelta(milliseconds=50), timedelta(minutes=1)


@pytest.mark.parametrize("case", ONE_EACH, indirect=True)
def test_each_replica_under_the_shim_has_a_toggle_of_its_own(bench: Bench, deployment: Deployment) -> None:
    platform = bench.able(CudaPlatform)
    bare = platform.replicas(deployment, WORKER)
    assert [platform.cuda_toggle(replica) for replica in bare] == [None, None]
    assert [platform.shimmed_processes(replica) for replica in bare] == [[], []]
    with pytest.raises(FaultError, match=f"{WORKER}-0 does not run under the CUDA shim"):
        platform.plan_cuda(deployment, bare[0], CudaRule(), MOMENT)
    try:
        platform.shim_cuda([WORKER])
    except Unsupported as reason:
        pytest.skip(str(reason))
    assert [platform.awaits_cuda_change(replica) for replica in bare] == [True, True]
    under = [platform.respawn(deployment, replica) for replica in bare]
    platform.wait_ready(deployment, MINUTE)
    assert [platform.awaits_cuda_change(replica) for replica in under] == [False, False]
    assert all(platform.shimmed_processes(replica) for replica in under)

    def on() -> list[bool]:
        return [toggle.is_on for replica in under if (toggle := platform.cuda_toggle(replica)) is not None]

    assert on() == [False, False]
    effect = platform.plan_cuda(deployment, under[0], CudaRule(), MOMENT)
    assert on() == [False, False]
    effect.apply()
    assert on() == [True, False]
    with pytest.raises(FaultError, match=f"the CUDA faults of {WORKER}-0 are on already"):
        platform.plan_cuda(deployment, under[0], CudaRule(), MOMENT)
    with pytest.raises(EvidenceMissing, match=f"no CUDA call of {WORKER}-0 failed within 50 ms"):
        effect.prove()
    assert effect.failures == 0
    effect.heal()
    assert on() == [False, False]
    assert undo(effect.recipe) == "was off"
