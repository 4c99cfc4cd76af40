"""How many GPUs a pod asks for: by resource names of any vendor, or by claims (DRA)."""

import re
from typing import Any

from DynamoFaultLibrary.errors import GraphError
from DynamoFaultLibrary.graph.companions import Companions
from DynamoFaultLibrary.graph.shape import COMPANION, check

Document = dict[str, Any]

_GPU = re.compile(r"gpu|.*/gpu|nvidia\.com/mig-.*|gpu\.intel\.com/(i915|xe)|.*/gpu\.(shared|product)\b.*")
_GPU_CLASS = re.compile(r"gpu|.*/gpu|gpu[./-].*|.*/gpu[.-].*|mig\..*")
"""Device classes such as `gpu.nvidia.com`, `gpu.intel.com`; others are channels, network cards and the like."""


def pod_gpus(pod: Document, main: Document, service: Document, companions: Companions, where: str) -> int:
    """GPUs of one pod: those of its main container, of its sidecars and of init containers that go on running.

    `service` is the service's own `resources` (v1alpha1), which stand for its main container's.

    Raises:
        GraphError: an amount is not a whole number.
    """
    beside = [item for item in pod.get("containers") or [] if item is not main and item.get("name") != "main"]
    beside += [item for item in pod.get("initContainers") or [] if item.get("restartPolicy") == "Always"]
    own = [service, main.get("resources") or {}]
    others = [item.get("resources") or {} for item in beside]
    count = next(filter(None, (_amount(item, where) for item in own)), 0)
    count += sum(_amount(item, where) for item in others)
    if count:
        return count
    claims = [str(claim["name"]) for item in (*own, *others) for claim in item.get("claims") or [] if "name" in claim]
    return sum(_claimed(pod, name, companions, where) for name in dict.fromkeys(claims))


def _amount(resources: Document, where: str) -> int:
    for kind in ("limits", "requests"):
        amounts = resources.get(kind) or {}
        flat = {**amounts, **(amounts.get("custom") or {})}
        found = [(str(name), value) for name, value in flat.items() if _GPU.fullmatch(str(name))]
        if found:
            return sum(_whole(value, f"{name} of {where}") for name, value in found)
    return 0


def _claimed(pod: Document, name: str, companions: Companions, where: str) -> int:
    claim: Document = next((item for item in pod.get("resourceClaims") or [] if item.get("name") == name), {})
    wanted = {
        "ResourceClaimTemplate": claim.get("resourceClaimTemplateName"),
        "ResourceClaim": claim.get("resourceClaimName"),
    }
    for kind, named in wanted.items():
        item = companions.find(kind, named) if named else None
        if item is not None:
            check(item, COMPANION[kind], f"{kind} '{named}'")
            spec = item.get("spec") or {}
            spec = (spec.get("spec") or {}) if kind == "ResourceClaimTemplate" else spec
            requests = (spec.get("devices") or {}).get("requests") or []
            return sum(_devices(request, f"claim '{name}' of {where}") for request in requests)
    return 0


def _devices(request: Document, where: str) -> int:
    # v1beta1 of resource.k8s.io has the fields in the request itself, later versions below `exactly`.
    asked = request.get("exactly") or next(iter(request.get("firstAvailable") or []), request)
    if not _GPU_CLASS.fullmatch(str(asked.get("deviceClassName", ""))):
        return 0
    return _whole(asked.get("count", 1), f"count of {where}")


def _whole(value: object, what: str) -> int:
    try:
        count = int(str(value))
    except ValueError:
        count = -1
    if count < 0:
        raise GraphError(f"{what} must be a whole number of 0 or more, not {value!r}")
    return count
