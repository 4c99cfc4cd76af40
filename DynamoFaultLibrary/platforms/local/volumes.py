"""Volumes of a pod as directories below a deployment's work directory, and where its containers mount them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from posixpath import normpath

from DynamoFaultLibrary.errors import DeploymentError
from DynamoFaultLibrary.platforms.local.environment import STORES, resource_field
from DynamoFaultLibrary.platforms.local.findings import Findings
from DynamoFaultLibrary.platforms.local.pod import Container, Document, Pod, entries, mapping

_KEPT = tuple(map(PurePosixPath, ("/bin", "/dev", "/lib", "/lib64", "/proc", "/run", "/sbin", "/sys", "/tmp", "/usr")))  # noqa: S108  # told, not used
_MODE = 0o644


@dataclass(frozen=True)
class File:
    """A file to write."""

    text: str
    mode: int = _MODE


@dataclass
class Tree:
    """Directories and files that a deployment needs before its processes start."""

    directories: set[Path] = field(default_factory=set)
    files: dict[Path, File] = field(default_factory=dict)

    def may_run(self, program: str, mounts: Sequence[Sequence[str]]) -> bool:
        """Whether a program lies in a volume that has it, or that something else fills before it starts."""
        for source, target in mounts:
            if Path(program).is_relative_to(target):
                place = Path(source) / Path(program).relative_to(target)
                if place in self.files:
                    return bool(self.files[place].mode & 0o111)
                return not any(path.is_relative_to(source) for path in self.files)
        return False

    def write(self) -> None:
        """Make them."""
        for directory in sorted(self.directories):
            directory.mkdir(parents=True, exist_ok=True)
        for path, file in self.files.items():
            if self.files.keys() & set(path.parents):
                raise DeploymentError(f"a volume has a file '{path.name}' below another file; see its items")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file.text, encoding="utf-8", errors="surrogateescape")  # they stand for bytes
            path.chmod(file.mode)


@dataclass(frozen=True)
class Volumes:
    """Where the volumes of one pod are."""

    work: Path
    """Directory of the deployment."""
    needed: tuple[Path, ...]
    """Paths that its processes need as they are: nothing is mounted over them."""
    tree: Tree
    findings: Findings

    def mounts(self, pod: Pod, container: Container) -> list[list[str]]:
        """The mounts of a container, as pairs of source and target; its volumes are put into the tree."""
        volumes = {str(volume.get("name")): volume for volume in pod.volumes}
        found = []
        for mount in pod.mounts(container):
            name, target = str(mount.get("name")), normpath(str(mount.get("mountPath") or ""))
            if not target.startswith("/"):
                problem = f"volume '{name}' at {mount.get('mountPath')!r}; a mountPath is an absolute path"
                self._refuse(pod, f"mount of {name}", problem)
            elif name not in volumes:
                self._refuse(pod, f"mount {target}", f"volume '{name}' at {target}, but its pod has no such volume")
            elif self._is_left(pod, volumes[name], target):
                continue
            elif (source := self._source(pod, volumes[name], mount)) is not None:
                self._check_place(pod, name, Path(target), is_file=source in self.tree.files)
                found.append([str(source), target])
        return found

    def _check_place(self, pod: Pod, name: str, target: Path, *, is_file: bool) -> None:
        """See that the target can be what the source is."""
        above = next(path for path in (target, *target.parents) if path.exists())
        fits = above.is_dir() if above != target else above.is_dir() is not is_file
        if not fits:
            what = "a file" if is_file else "a directory"
            is_there = "a directory" if above.is_dir() else "a file"
            problem = f"{what} at {target}, but {above} is {is_there} on this machine"
            self._refuse(pod, f"mount of {name}", problem)

    def _refuse(self, pod: Pod, what: str, problem: str) -> None:
        error = DeploymentError(f"service '{pod.service.name}' mounts {problem}")
        self.findings.refuse(pod.service.name, what, error)

    def _is_left(self, pod: Pod, volume: Document, target: str) -> bool:
        """Whether what this machine has at the target stands for the volume."""
        name, place = pod.service.name, PurePosixPath(target)
        is_empty = "emptyDir" in volume
        if place == PurePosixPath("/dev/shm"):  # noqa: S108
            return True
        is_kept = any(place.is_relative_to(kept) for kept in _KEPT)
        if is_kept or any(need.is_relative_to(place) for need in self.needed):
            if not (is_empty and place == PurePosixPath("/tmp")):  # noqa: S108  # TMPDIR is the deployment's own
                self.findings.lack(name, f"volume {volume['name']} at {target}", "this machine's own stays there")
            return True
        if kind_of(volume) in _CONTENT or is_empty or not Path(target).exists():
            return False
        self.findings.lack(name, described(volume), f"this machine's own {target} stands for it")
        return True

    def _source(self, pod: Pod, volume: Document, mount: Document) -> Path | None:
        kind, name = kind_of(volume), str(volume["name"])
        if kind == "persistentVolumeClaim":  # shared by all replicas
            claim = str(mapping(volume, kind, name).get("claimName", name))
            directory = self.work / "claims" / _inside(pod, claim, "claimName")
        else:
            directory = self.work / "volumes" / pod.name / _inside(pod, name, "a volume's name")
        if kind in _CONTENT:
            files = self._content(pod, volume)
            for path, file in files.items():
                self.tree.files[directory / _inside(pod, path, f"a path in volume '{name}'")] = file
        elif kind != "emptyDir":
            self.findings.lack(pod.service.name, described(volume), "an empty directory of the deployment's own")
        self.tree.directories.add(directory)
        sub = _inside(pod, str(mount.get("subPath") or ""), "subPath")
        if not sub:
            return directory
        if kind not in _CONTENT:
            self.tree.directories.add(directory / sub)
            return directory / sub
        if any(PurePosixPath(path).is_relative_to(sub) for path in files):
            return directory / sub
        self.findings.lack(pod.service.name, f"mount {mount.get('mountPath')}", f"volume '{name}' has no '{sub}'")
        return None

    def _content(self, pod: Pod, volume: Document) -> dict[str, File]:
        """Files of a volume that has content, by their paths in it."""
        kind = kind_of(volume)
        source = mapping(volume, kind, str(volume["name"]))
        sources = entries(source, "sources", str(volume["name"])) if kind == "projected" else [{kind: source}]
        found: dict[str, File] = {}
        for one in sources:
            for one_kind in one:
                projection = mapping(one, one_kind, str(volume["name"]))
                items = entries(projection, "items", str(volume["name"]))
                if any("path" not in item for item in items):
                    raise DeploymentError(f"each of the items of volume '{volume['name']}' needs a path")
                default = projection.get("defaultMode", source.get("defaultMode")) or _MODE
                modes = {str(item["path"]): item.get("mode") or default for item in items}
                for path, text in self._texts(pod, one_kind, projection):
                    mode = modes.get(path, default)
                    if not isinstance(mode, int):
                        raise DeploymentError(f"a mode of volume '{volume['name']}' must be a number, not {mode!r}")
                    found[path] = File(text, mode)
        return found

    def _texts(self, pod: Pod, kind: str, source: Document) -> Iterator[tuple[str, str]]:
        if kind == "downwardAPI":
            for item in entries(source, "items", kind):
                reference = mapping(item, "resourceFieldRef", kind)
                path = str(mapping(item, "fieldRef", kind).get("fieldPath", "")).replace('"', "'")
                value = (
                    resource_field(pod, _container(pod, reference), reference) if reference else pod.fields().get(path)
                )
                yield str(item["path"]), value or ""
            return
        called = STORES.get(kind)
        if called is None:
            self.findings.lack(pod.service.name, f"projected {kind}", "it is made by a cluster")
            return
        name = str(source.get("name") or source.get("secretName"))
        data = pod.graph.near.data(called, name)
        if data is None:
            if not source.get("optional"):
                why = "it is not in the graph's file: an empty directory"
                self.findings.lack(pod.service.name, f"{called} {name}", why)
            return
        yield from self._items(pod, data, source, f"{called} {name}")

    def _items(self, pod: Pod, data: Mapping[str, str], source: Document, called: str) -> Iterator[tuple[str, str]]:
        if not source.get("items"):
            yield from data.items()
        for item in entries(source, "items", called):
            key = str(item.get("key"))
            if key in data:
                yield str(item.get("path", key)), data[key]
            elif not source.get("optional"):
                self.findings.lack(pod.service.name, f"{called}, key {key}", "it has no such key")


_CONTENT = frozenset({"configMap", "secret", "downwardAPI", "projected"})


def _inside(pod: Pod, path: str, what: str) -> str:
    """A path that stays inside the directory that it is relative to."""
    if path.startswith("/") or ".." in PurePosixPath(path).parts or "\0" in path:
        raise DeploymentError(f"{what} of service '{pod.service.name}' must be relative and without '..', not {path!r}")
    return path


def kind_of(volume: Document) -> str:
    """What kind of volume it is; one without a kind is an `emptyDir`."""
    return next((str(key) for key in volume if key != "name"), "emptyDir")


def described(volume: Document) -> str:
    """A volume in a few words."""
    kind = kind_of(volume)
    detail = volume.get(kind) or {}
    if kind == "persistentVolumeClaim":
        return f"PVC {detail.get('claimName', volume['name'])}"
    if kind == "hostPath":
        return f"hostPath {detail.get('path')}"
    return f"{kind} volume {volume['name']}"


def _container(pod: Pod, reference: Document) -> Container:
    wanted = str(reference.get("containerName"))
    containers = pod.containers()
    return next((one for one in containers if one.name == wanted), containers[-1])
