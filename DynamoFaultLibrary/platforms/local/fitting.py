"""What of a graph can run here, and options that name what only an image has and that an engine can do without."""

import re
from collections.abc import Mapping
from pathlib import Path

from DynamoFaultLibrary.engines.model import TINY_MODEL
from DynamoFaultLibrary.graph import Graph, Service
from DynamoFaultLibrary.graph.roles import Role
from DynamoFaultLibrary.platforms.local.commands import is_mocker, lacking_packages, missing_modules, modules_of
from DynamoFaultLibrary.platforms.local.findings import Findings

_PROFILE = "--planner-profile-data"
"""Measured times of an engine: a directory of the image. Without it the mocker uses formulas of its own."""
_MODEL = re.compile(r"[\w.-]+(/[\w.-]+)?")
_WORKERS = "--num-workers"
_PREDICTOR = "aiconfigurator_core"
_PREDICTING = (
    "--aic-perf-model",
    "--aic-system",
    "--aic-backend",
    "--aic-backend-version",
    "--aic-tp-size",
    "--aic-moe-tp-size",
    "--aic-moe-ep-size",
    "--aic-attention-dp-size",
    "--aic-nextn",
    "--aic-nextn-accept-rates",
)
"""Options of the mocker that ask a predictor for times; without them it uses formulas of its own."""
_ENVIRONMENT = re.compile(r"""["']?environment["']?\s*[:=]\s*["']?([\w-]+)""")


def fit_options(service: Service, interpreter: str, findings: Findings) -> None:
    """Take away options that the engine can do without and that need what is not here."""
    if not is_mocker(service):
        return
    if service.nodes > 1:
        findings.override(service.name, f"{service.nodes} nodes", "one process: the mocker simulates its hardware")
    elif service.gpus:
        findings.override(service.name, f"{service.gpus} GPUs", "none: the mocker simulates its hardware")
    profile = service.argument(_PROFILE)
    if profile is not None and profile.startswith("/") and not Path(profile).exists():
        service.remove_argument(_PROFILE)
        why = "there is no such path here; the mocker's own times are used"
        findings.lack(service.name, f"{_PROFILE} {profile}", why)
    if missing_modules(interpreter, (_PREDICTOR,)):
        dropped = [one for one in _PREDICTING if service.has_argument(one) and service.remove_argument(one)]
        if dropped:
            why = f"the Python package {_PREDICTOR} is not here; the mocker's own times are used"
            findings.lack(service.name, " ".join(dropped), why)


def instances_of(service: Service) -> int:
    """Workers that one process of a service is; the mocker may be several."""
    said = service.argument(_WORKERS) or "1"
    return max(int(said), 1) if is_mocker(service) and said.isdecimal() else 1


def tell_model(service: Service, environment: Mapping[str, str], findings: Findings) -> None:
    """Tell of a model that is to be fetched, since that may fail or take its time."""
    model = service.model
    if not model or not _MODEL.fullmatch(model) or model == TINY_MODEL:
        return
    cache = environment.get("HF_HUB_CACHE") or str(Path(environment["HF_HOME"]) / "hub")
    if not (Path(cache) / f"models--{model.replace('/', '--')}").is_dir():
        instead = f"; model={TINY_MODEL} needs no network" if is_mocker(service) else ""
        findings.lack(service.name, f"model {model}", f"it is not in the cache {cache} and has to be fetched{instead}")


def why_not_here(service: Service, graph: Graph, interpreter: str) -> str:
    """Why a service that is neither frontend nor worker cannot run on this machine; empty when it can."""
    if service.role is Role.EPP:
        return "an endpoint picker works for a gateway of Kubernetes"
    if service.role is Role.PLANNER and _planner_environment(service, graph) == "kubernetes":
        return "it scales services through Kubernetes"
    if lacking := lacking_packages(service.command, interpreter):
        return f"it needs the Python package {lacking[0]}, which '{interpreter}' does not have"
    return ""


def _planner_environment(service: Service, graph: Graph) -> str:
    """Where a planner makes its changes; by default in Kubernetes."""
    command = service.command
    if "dynamo.global_planner" in modules_of(command):
        return "kubernetes"
    texts = [" ".join(command)]
    for volume in service.pod.get("volumes") or []:
        texts += (graph.near.data("ConfigMap", str((volume.get("configMap") or {}).get("name"))) or {}).values()
    said = service.argument("--environment")
    found = next(filter(None, (_ENVIRONMENT.search(text) for text in texts)), None)
    return said or (found.group(1) if found else "kubernetes")
