"""Builds the shim, the stub libraries and the probe, and talks to a probe that runs under the shim."""

import os
import subprocess
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parent
SOURCES = TESTS.parent / "src"
PLACE = Path(tempfile.gettempdir())
PAGE = 4096
CLASSES = ("device", "module", "memory", "copy", "launch", "graph", "wait", "stream", "error")
EARLY = ("elf", "entries", "hooks")
SANITIZERS = ("-fsanitize=address", "-fsanitize=thread")
CC = os.environ.get("CC", "gcc").split()
EMULATOR = os.environ.get("SHIM_EMULATOR", "").split()
"""Such as ``qemu-aarch64 -L …``, with a cross compiler as CC."""


def gcc(*arguments: object) -> None:
    done = subprocess.run([*CC, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(CC)} failed:\n{done.stderr}")


class Build:
    """Everything compiled into one directory. `flags` are for the shim and the probe, such as a sanitizer's."""

    def __init__(self, directory: Path, *flags: str, symbolic: bool = True) -> None:
        self.directory = directory
        self.shim = self.library("shim.so", *flags)
        bound = ["-Wl,-Bsymbolic"] if symbolic else []  # the real driver's references to itself cannot be interposed
        common = ("-std=gnu11", "-O1", "-g", "-w")
        for name, stub in (("libcuda.so.1", "stub_driver"), ("libcudart.so.13", "stub_runtime")):
            script = f"-Wl,--version-script={TESTS / stub}.map"
            output = directory / name
            gcc(
                *common,
                "-shared",
                "-fPIC",
                f"-Wl,-soname,{name}",
                script,
                *bound,
                "-o",
                output,
                TESTS / f"{stub}.c",
                "-ldl",
            )
        self.probe, self.linked = directory / "probe", directory / "linked"
        gcc(*common, *flags, "-o", self.probe, TESTS / "probe.c", "-pthread", "-ldl")
        libraries = (directory / "libcuda.so.1", directory / "libcudart.so.13", f"-Wl,-rpath,{directory}")
        gcc(*common, *flags, "-DLINKED", "-o", self.linked, TESTS / "probe.c", *libraries, "-pthread", "-ldl")

    def library(self, name: str, *flags: str) -> Path:
        """A shim. The sources in EARLY stay as they are: a sanitizer looks symbols up before it is ready itself."""
        output = self.directory / name
        options = (
            "-std=gnu11",
            "-D_GNU_SOURCE",
            "-fPIC",
            "-fvisibility=hidden",
            "-O2",
            "-g",
            "-Wall",
            "-Wextra",
            "-Werror",
        )
        objects = []
        for source in [*SOURCES.glob("*.c"), SOURCES / "trampolines.S"]:
            objects.append(self.directory / f"{output.stem}-{source.stem}.o")
            own = [flag for flag in flags if flag not in SANITIZERS or source.stem not in EARLY]
            gcc(*options, "-Wno-unused-parameter", *own, "-c", "-o", objects[-1], source)
        link = ("-shared", "-Wl,-Bsymbolic,-z,now,-z,relro,-z,nodelete,-z,noexecstack")
        gcc(*link, *flags, "-o", output, *objects, "-pthread", "-ldl")
        return output

    def environment(self, toggle: Path | None, preload: str | None = None, **more: str) -> dict[str, str]:
        plain = {k: v for k, v in os.environ.items() if not k.startswith(("CUDA_", "DYNAMO_FAULT_", "LD_"))}
        own = {"DYNAMO_FAULT_CUDA_FILE": str(toggle)} if toggle else {}
        shim = str(self.shim) if preload is None else preload
        return {**plain, "LD_LIBRARY_PATH": str(self.directory), "LD_PRELOAD": shim, **own, **more}


class Toggle:
    """A toggle file and the directory of counters beside it."""

    def __init__(self, directory: Path, content: str | None = "0\n") -> None:
        self.path = directory / "cuda_fault_enabled"
        self.counters = directory / "cuda_fault_enabled.d"
        self.counters.mkdir()
        if content is not None:
            self.path.write_text(content)

    def write(self, content: str) -> None:
        """In place, in one call."""
        data = content.encode().ljust(PAGE, b"\n")
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o644)
        os.pwrite(descriptor, data, 0)
        os.close(descriptor)

    def rules(self, *rules: str, on: str = "1", generation: int = 1, release: bool = False) -> None:
        lines = [on, "dynamo-fault-cuda 1", f"generation {generation}", *(["release"] if release else [])]
        self.write("\n".join([*lines, *(f"rule {rule}" for rule in rules), "end"]) + "\n")

    def count(self, pid: int) -> dict[str, int]:
        """What the shim of a process has written: `seen_x`, `failed_x` by class, and more."""
        (path,) = self.counters.glob(f"{pid}-*")
        data = path.read_bytes()
        assert data[:8] == b"DFCUDA1\0"
        u32 = [int.from_bytes(data[8 + 4 * i : 12 + 4 * i], "little") for i in range(2)]
        u64 = [int.from_bytes(data[at : at + 8], "little") for at in range(16, len(data), 8)]
        names = ["started", "generation", "armed_ns", "read_ns", "first_failed_ns", "last_failed_ns", "unhooked"]
        names += [f"seen_{name}" for name in CLASSES] + [f"failed_{name}" for name in CLASSES]
        return dict(zip(["pid", "is_on", *names], [*u32, *u64], strict=False))


class Probe:
    """A running probe. Calling it sends a command and returns the answer, mostly a CUDA error."""

    def __init__(
        self, build: Build, way: str, toggle: Path | None, *, executable: Path | None = None, **more: object
    ) -> None:
        program = executable or (build.linked if way == "link" else build.probe)
        options = {"preexec_fn": more.pop("preexec_fn", None)}
        wrapper = more.pop("wrapper", ())
        self.errors = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115  # it lives as long as the probe
        self.process = subprocess.Popen(
            [*wrapper, *EMULATOR, str(program), way],
            env=build.environment(toggle, **more),  # type: ignore[arg-type]
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            **options,  # type: ignore[call-overload]
        )

    def send(self, command: str) -> None:
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        return self.process.stdout.readline().strip()

    def __call__(self, command: str) -> int:
        self.send(command)
        text = self.answer()
        if not text:
            raise AssertionError(f"'{command}' ended the process: {self.process.wait(5)}, {self.said()}")
        return int(text)

    def until(self, command: str, *wanted: int, seconds: float = 5.0) -> int:
        """Repeat a command until it answers as wanted."""
        end = time.monotonic() + seconds
        while (got := self(command)) not in wanted:
            if time.monotonic() > end:
                raise AssertionError(f"'{command}' answers {got}, not one of {wanted}")
        return got

    def said(self) -> list[str]:
        self.errors.seek(0)
        return self.errors.read().splitlines()

    def end(self) -> int:
        if self.process.poll() is None:
            self.process.stdin.close()
        code = self.process.wait(20)
        self.process.stdout.close()
        return code
