"""What a graph says and this platform decides, since its processes are no containers of a cluster."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from DynamoFaultLibrary.graph import Service
from DynamoFaultLibrary.platforms.local.environment import SECRET, Variables
from DynamoFaultLibrary.platforms.local.findings import Findings
from DynamoFaultLibrary.platforms.settings import DeploySettings, Discovery, EventPlane, RequestPlane

PLANES = {
    "DYN_DISCOVERY_BACKEND": ("discovery", "--discovery-backend"),
    "DYN_REQUEST_PLANE": ("request_plane", "--request-plane"),
    "DYN_EVENT_PLANE": ("event_plane", "--event-plane"),
}
"""Variables of the planes: the argument of `Deploy Graph` and Dynamo's option that say the same."""

LISTENING = {
    "DYN_HTTP_HOST": "--http-host",
    "DYN_HTTP_PORT": "--http-port",
    "DYN_SYSTEM_HOST": "",
    "DYN_SYSTEM_PORT": "",
    "DYN_TCP_RPC_HOST": "",
    "DYN_HTTP_RPC_HOST": "",
    "DYN_TCP_RESPONSE_STREAM_HOST": "",
}
"""Variables that say where a process listens, and the frontend's options for it."""

_SERVERS = {"DYN_FILE_KV", "ETCD_ENDPOINTS", "NATS_SERVER"}
"""Where discovery and planes are; those of a graph are a cluster's."""
_HUGGING_FACE = ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "TRANSFORMERS_CACHE")
_DIRECTORIES = {
    **dict.fromkeys(_HUGGING_FACE, "no such directory here; the user's own Hugging Face cache is used"),
    "HOME": "each deployment has a home directory of its own",
    "TMPDIR": "no such directory here; each deployment has one of its own",
}
"""Variables that name directories, and why another one is used when a graph's is not there."""
_WHY_LISTENING = "replicas share this machine, so the platform chooses where each listens"
_WHY_SERVERS = "each deployment here has a discovery store and servers of its own"
_WHY_PLANE = "the platform has its own; see argument {} of Deploy Graph"


def contradictions(settings: DeploySettings) -> Iterator[str]:
    """Where an argument of `Deploy Graph` says otherwise than another one, or what has no effect here."""
    edits = settings.edits
    options = {**edits.args, **edits.frontend_args}
    for variable, value in planes_of(settings).items():
        argument, option = PLANES[variable]
        for place, said in (("env", edits.env.get(variable)), ("args", options.get(option))):
            if said is not None and str(said) != value:
                name = variable if place == "env" else option
                yield f"{place} sets {name}={said}, but {argument} is {value}; use {argument}="
    for variable in sorted(_SERVERS & edits.env.keys()):
        yield f"env sets {variable}, but {_WHY_SERVERS}; see the arguments discovery, request_plane and event_plane"
    for variable, option in LISTENING.items():
        for place, name, there in (("env", variable, edits.env), ("frontend_args", option, edits.frontend_args)):
            if name in there:
                instead = "; use http_port=" if name in ("DYN_HTTP_PORT", "--http-port") else ""
                yield f"{place} sets {name}, but this platform chooses where a process listens{instead}"


def planes_of(settings: DeploySettings) -> dict[str, str]:
    """Values of the planes' variables: what is given, else what needs no server."""
    chosen = (
        settings.discovery or Discovery.FILE,
        settings.request_plane or RequestPlane.TCP,
        settings.event_plane or EventPlane.ZMQ,
    )
    return {variable: value.value for variable, value in zip(PLANES, chosen, strict=True)}


def override_options(service: Service, settings: DeploySettings, findings: Findings) -> None:
    """Take away (or set) those options of a service that this platform decides."""
    for variable, value in planes_of(settings).items():
        argument, option = PLANES[variable]
        said = service.argument(option)
        if said is not None and said != value:
            service.set_argument(option, value)
            findings.override(service.name, f"{option} {said}", f"{value}: {_WHY_PLANE.format(argument)}")
    if service.is_frontend:
        for option in filter(None, LISTENING.values()):
            said = service.argument(option)
            if service.has_argument(option) and service.remove_argument(option):
                findings.override(service.name, f"{option} {said}", _WHY_LISTENING)


def override_variables(
    service: str,
    variables: Variables,
    platforms: Mapping[str, str],
    settings: DeploySettings,
    findings: Findings,
) -> dict[str, str]:
    """Variables of a container without those that this platform decides; `platforms` are its own."""
    left = {}
    for name, value in variables.values.items():
        why = "" if platforms.get(name) == value else _why(name, value, settings)
        if why:
            findings.override(service, f"{name}={SECRET if name in variables.secrets else value}", why)
        else:
            left[name] = value
    return left


def _why(name: str, value: str, settings: DeploySettings) -> str:
    """Why the platform's own value of a variable stands, or none; empty when the graph's does."""
    if name in PLANES:
        return f"{planes_of(settings)[name]}: {_WHY_PLANE.format(PLANES[name][0])}"
    if name in _SERVERS:
        return _WHY_SERVERS
    if name in LISTENING and not name.endswith("_PORT"):
        return _WHY_LISTENING
    if name in _DIRECTORIES and name not in settings.edits.env and (name == "HOME" or not Path(value).is_dir()):
        return _DIRECTORIES[name]
    return ""
