"""Tests of the shim that need no GPU. Standard library only: `make test` runs them wherever gcc and python3 are."""

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from harness import CC, EMULATOR, Build, Probe, Toggle, gcc

WAYS = ("dlsym", "dlvsym", "default", "next", "proc", "proc1", "procproc", "link")
ALL_CALLS = ("alloc", "copy", "launch", "launchex", "graph", "wait", "record", "module")
NO_DEVICE, UNAVAILABLE, ECC, UNKNOWN = 100, 46, 214, 999
TWO_DEVICES, NO_DEVICES = -1002, -1000
IS_ROOT = os.geteuid() == 0
NATIVE = not EMULATOR
UUID_OF_1 = "GPU-aa000000-0000-0000-0000-000000000001"

_place: tempfile.TemporaryDirectory[str]
build: Build


def setUpModule() -> None:  # unittest's name
    global _place, build  # noqa: PLW0603  # built once for all
    _place = tempfile.TemporaryDirectory(prefix="cuda-shim-")
    build = Build(Path(_place.name))


def tearDownModule() -> None:  # unittest's name
    _place.cleanup()


class Case(unittest.TestCase):
    """A toggle of its own for each test; every probe must end by itself."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory(prefix="cuda-shim-test-")
        self.addCleanup(directory.cleanup)
        self.place = Path(directory.name)
        self.toggle = Toggle(self.place)

    def probe(self, way: str = "proc", toggle: Path | None = None, **more: object) -> Probe:
        probe = Probe(build, way, toggle or self.toggle.path, **more)
        self.addCleanup(probe.errors.close)
        self.addCleanup(lambda: self.assertEqual(probe.end(), 0, probe.said()))
        return probe

    def open_to_all(self) -> None:
        """For programs that run as another user."""
        for path in (self.place, build.directory):
            path.chmod(0o755)
        self.toggle.counters.chmod(0o777)

    def wait_for_generation(self, probe: Probe, generation: int) -> None:
        end = time.monotonic() + 5
        while self.toggle.count(probe.process.pid)["generation"] != generation:
            self.assertLess(time.monotonic(), end, "the process has not read its toggle")

    def assert_works(self, probe: Probe, calls: tuple[str, ...] = ("init", *ALL_CALLS)) -> None:
        self.assertEqual([(call, probe(call)) for call in calls], [(call, 0) for call in calls])


class LookUp(Case):
    def test_every_way_to_find_a_function_is_faulted_and_recovers(self) -> None:
        for way in WAYS:
            with self.subTest(way):
                self.toggle.rules(on="0")
                probe = self.probe(way)
                self.assert_works(probe)
                self.assertEqual(probe("count"), TWO_DEVICES)
                self.toggle.rules("xid=79")
                probe.until("launch", UNKNOWN)
                self.assertEqual({probe(call) for call in ALL_CALLS}, {UNKNOWN})
                self.assertEqual(probe("init"), NO_DEVICE)
                self.assertEqual(probe("count"), NO_DEVICES)
                self.toggle.rules(on="0")
                probe.until("launch", 0)
                self.assert_works(probe)
                self.assertEqual(probe("count"), TWO_DEVICES)

    def test_what_cleans_up_goes_on(self) -> None:
        self.toggle.rules("xid=79")
        for way in WAYS:
            with self.subTest(way):
                probe = self.probe(way)
                self.assertEqual(probe("launch"), UNKNOWN)
                self.assertEqual([probe("free"), probe("text")], [0, 0])

    def test_the_runtime_is_faulted_where_it_is_linked_and_keeps_the_last_error(self) -> None:
        probe = self.probe("link")
        self.assert_works(probe, ("rset", "rmalloc", "rlaunch", "rwait", "rlast"))
        self.assertEqual(probe("rcount"), TWO_DEVICES)
        self.toggle.rules("error=719 sticky=0 init=100 no_devices=1")
        probe.until("rlaunch", 719)
        self.assertEqual([probe(call) for call in ("rpeek", "rlast", "rlast")], [719, 719, 0])
        self.assertEqual([probe(call) for call in ("rset", "rmalloc", "rwait", "rcount")], [100, 719, 719, NO_DEVICE])
        self.assertEqual(probe("rfree"), 0)
        self.toggle.rules(on="0")
        probe.until("rwait", 0)
        self.assertIn(
            probe("rlast"), (NO_DEVICE, 719), "the error of the last failed call was lost when the toggle went off"
        )
        self.assert_works(probe, ("rlast", "rset", "rmalloc", "rlaunch", "rwait", "rlast"))

    def test_an_error_that_was_fetched_is_not_met_again_after_the_toggle(self) -> None:
        """Whether the call failed in the runtime, or below it in the driver, as one does that a compiler made."""
        for launch in ("rlaunch", "rstub"):
            for rule in ("xid=79", "error=719 sticky=0"):
                with self.subTest(launch=launch, rule=rule):
                    self.toggle.rules(rule, generation=1)
                    probe = self.probe("link")
                    error = UNKNOWN if rule == "xid=79" else 719
                    self.assertEqual([probe(launch), probe("rpeek"), probe("rlast")], [error] * 3)
                    self.toggle.rules(on="0", generation=2)
                    self.wait_for_generation(probe, 2)
                    self.assert_works(probe, ("rlast", "rset", launch, "rlast"))

    def test_a_runtime_that_was_not_linked_fails_through_its_driver(self) -> None:
        script = (
            "import ctypes as c; r = c.CDLL('libcudart.so.13'); n = c.c_void_p(); print(r.cudaMalloc(c.byref(n), 8))"
        )
        self.toggle.rules("xid=48")
        environment = build.environment(self.toggle.path)
        if not NATIVE:
            self.skipTest("Python is not emulated")
        answer = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        self.assertEqual(answer.stdout.strip(), str(ECC))

    def test_the_form_for_threads_streams_and_the_oldest_form_stay_what_they_are(self) -> None:
        probe = self.probe("ptsz")
        self.assertEqual(probe("launch"), 7777)
        old = self.probe("old")
        self.assertEqual(old("alloc"), -3, "a pointer of 32 bits was asked for")
        self.toggle.rules("xid=43")
        probe.until("launch", 702)
        old.until("alloc", 702)

    def test_all_registers_and_the_stack_go_through(self) -> None:
        for rules in ((), ("gpu=5 xid=79",)):
            for way in ("link", "proc"):
                with self.subTest(rules=rules, way=way):
                    self.toggle.rules(*rules, on="1" if rules else "0")
                    probe = self.probe(way)
                    self.assertEqual([probe("odd") for _ in range(100)], [0] * 100)

    def test_a_symbol_that_nobody_defines_is_not_found(self) -> None:
        probe = self.probe("default")
        self.assertEqual([probe("missing"), probe("message")], [0, 1])
        linked = self.probe("link")
        self.assertEqual(linked("unknown"), 500)
        self.assertIn("cuArrayCreate_v2 was called, but no library in this process defines it", linked.said()[0])

    def test_a_driver_may_be_closed_and_opened_again(self) -> None:
        probe = self.probe("proc")
        self.assertEqual(probe("reopen 3000"), 0)
        self.toggle.rules("xid=79")
        probe.until("launch", UNKNOWN)
        self.assertEqual(self.toggle.count(probe.process.pid)["unhooked"], 0)

    def test_a_driver_whose_own_references_are_bound_to_us(self) -> None:
        with tempfile.TemporaryDirectory(prefix="cuda-shim-") as place:
            interposed = Build(Path(place), symbolic=False)
            for way in ("proc", "dlsym"):
                self.toggle.rules(on="0")
                probe = Probe(interposed, way, self.toggle.path)
                self.addCleanup(probe.errors.close)
                self.assert_works(probe)
                self.assertEqual(probe("reopen 100"), 0)
                self.toggle.rules("xid=79")
                probe.until("launch", UNKNOWN)
                self.assertEqual(probe.end(), 0, probe.said())


class Rules(Case):
    def on(self, *rules: str, way: str = "proc") -> Probe:
        self.toggle.rules(*rules)
        return self.probe(way)

    def test_a_sticky_error_spreads_to_all_classes_and_another_does_not(self) -> None:
        sticky = self.on("xid=48 classes=copy")
        self.assertEqual([sticky("launch"), sticky("copy"), sticky("launch")], [0, ECC, ECC])
        plain = self.on("xid=74 classes=copy")
        self.assertEqual([plain("launch"), plain("copy"), plain("launch"), plain("copy")], [0, 220, 0, 220])

    def test_one_gpu_by_index_and_the_other_stays_healthy(self) -> None:
        probe = self.on("xid=79 gpu=1")
        self.assertEqual([probe("init"), probe("retain 0"), probe("use 0"), probe("launch")], [0, 0, 0, 0])
        self.assertEqual([probe("retain 1"), probe("use 1"), probe("launch")], [NO_DEVICE, 0, UNKNOWN])
        self.assertEqual([probe("use 0"), probe("launch"), probe("get 0"), probe("get 1")], [0, 0, 0, NO_DEVICE])
        self.assertEqual(probe("count"), TWO_DEVICES)

    def test_the_gpu_is_that_of_the_calling_thread(self) -> None:
        probe = self.on("xid=79 gpu=1")
        self.assertEqual([probe("other 0"), probe("other 1"), probe("other 0")], [0, UNKNOWN, 0])

    def test_one_gpu_by_uuid(self) -> None:
        probe = self.on(f"xid=48 gpu={UUID_OF_1}")
        self.assertEqual([probe("use 0"), probe("launch"), probe("use 1"), probe("launch")], [0, 0, 0, ECC])

    def test_a_rule_for_each_gpu(self) -> None:
        probe = self.on("xid=48 gpu=0", "xid=31 gpu=1")
        self.assertEqual([probe("use 0"), probe("launch"), probe("use 1"), probe("launch")], [0, ECC, 0, 700])

    def test_after_a_number_of_calls(self) -> None:
        probe = self.on("xid=79 after=3")
        self.assertEqual([probe("launch") for _ in range(5)], [0, 0, 0, UNKNOWN, UNKNOWN])

    def test_the_count_of_calls_is_the_drivers_also_through_the_runtime(self) -> None:
        probe = self.on("error=220 sticky=0 after=3 classes=launch", way="link")
        self.assertEqual([probe("rlaunch") for _ in range(5)], [0, 0, 0, 220, 220])

    def test_after_a_time(self) -> None:
        probe = self.on("xid=79 delay_ms=300")
        began = time.monotonic()
        self.assertEqual(probe("launch"), 0)
        probe.until("launch", UNKNOWN)
        self.assertGreater(time.monotonic() - began, 0.25)

    def test_by_chance_and_repeatably(self) -> None:
        rule = "error=719 sticky=0 probability=0.25 seed=7"
        first, second = (self.on(rule) for _ in range(2))
        answers = [first("launch") for _ in range(400)]
        self.assertEqual(answers, [second("launch") for _ in range(400)])
        self.assertGreater(answers.count(719), 60)
        self.assertLess(answers.count(719), 140)

    def test_a_lasting_error_stays_until_the_process_ends_or_is_released(self) -> None:
        self.toggle.rules("xid=79 recovery=exit")
        probe = self.probe()
        self.assertEqual(probe("launch"), UNKNOWN)
        self.toggle.rules(on="0", generation=2)
        self.wait_for_generation(probe, 2)
        self.assertEqual([probe("launch"), probe("wait")], [UNKNOWN, UNKNOWN])
        fresh = self.probe()
        self.assertEqual(fresh("launch"), 0)
        self.toggle.rules(on="0", generation=3, release=True)
        probe.until("launch", 0)

    def test_new_processes_of_a_gpu_that_waits_for_its_reset(self) -> None:
        probe = self.on("xid=48 after=1")
        self.assertEqual([probe("init"), probe("init")], [0, UNAVAILABLE])
        self.assertEqual([probe("count"), probe("retain 0")], [TWO_DEVICES, UNAVAILABLE])

    def test_counters_tell_what_failed_and_outlive_the_process(self) -> None:
        probe = self.on("xid=79 gpu=0")
        probe("use 0")
        for call in ("launch", "launch", "copy"):
            probe(call)
        probe("use 1")
        probe("launch")
        probe.end()
        count = self.toggle.count(probe.process.pid)
        self.assertEqual((count["seen_launch"], count["failed_launch"], count["failed_copy"]), (3, 2, 1))
        self.assertEqual((count["is_on"], count["generation"], count["pid"]), (1, 1, probe.process.pid))
        self.assertLessEqual(count["armed_ns"], count["first_failed_ns"])

    def test_the_first_failure_is_on_disk_when_it_ends_the_process(self) -> None:
        probe = self.on("xid=79")
        self.assertEqual(probe("launch"), UNKNOWN)
        probe.process.kill()
        probe.process.wait(5)
        self.assertEqual(self.toggle.count(probe.process.pid)["failed_launch"], 1)
        self.forgive_the_kill(probe)

    def forgive_the_kill(self, probe: Probe) -> None:
        self.assertEqual(probe.end(), -9)
        probe.end = lambda: 0  # type: ignore[method-assign]  # killed on purpose


class Processes(Case):
    @unittest.skipUnless(NATIVE, "what is executed is not emulated")
    def test_forked_and_executed_children_learn_of_the_toggle(self) -> None:
        probe = self.probe()
        self.assertEqual([probe("launch"), probe("fork"), probe("exec")], [0, 0, 0])
        self.toggle.rules("xid=79")
        probe.until("launch", UNKNOWN)
        self.assertEqual([probe("fork"), probe("exec")], [42, 42])
        self.toggle.rules(on="0")
        probe.until("launch", 0)
        self.assertEqual([probe("fork"), probe("exec")], [0, 0])

    @unittest.skipUnless(NATIVE, "what is executed is not emulated")
    def test_children_have_counters_of_their_own(self) -> None:
        self.toggle.rules("xid=79")
        probe = self.probe()
        for command in ("launch", "fork", "exec"):
            probe(command)
        self.assertEqual(len(list(self.toggle.counters.iterdir())), 3)

    def test_threads_fail_together_and_recover_together(self) -> None:
        probe = self.probe()
        self.assertEqual(probe("threads 8 20000"), 0)
        self.toggle.rules("xid=79")
        probe.until("launch", UNKNOWN)
        self.assertEqual(probe("threads 8 20000"), 160000)
        self.toggle.rules(on="0")
        probe.until("launch", 0)
        self.assertEqual(probe("threads 8 20000"), 0)

    def test_no_call_fails_in_ten_million_when_it_is_off(self) -> None:
        self.assertEqual(self.probe()("threads 2 5000000"), 0)

    def test_a_program_that_closes_all_descriptors_still_learns_of_the_toggle(self) -> None:
        probe = self.probe()
        probe("launch")
        self.assertEqual(probe("descriptors"), 3, "the shim holds a descriptor of the program's")
        probe("closeall")
        self.toggle.rules("xid=79")
        probe.until("launch", UNKNOWN)

    def test_the_toggle_is_seen_at_once(self) -> None:
        """A bound that only a look each tick would break; the median is measured by `make bench`."""
        probe = self.probe()
        probe("launch")
        waited = []
        for _ in range(9):
            probe.send("until")
            time.sleep(0.02)  # so that it calls already; being late does no harm
            began = time.monotonic()
            self.toggle.rules("xid=79")
            waited.append(float(probe.answer()) - began)
            self.toggle.rules(on="0")
            probe.until("launch", 0)
        self.assertLess(sorted(waited)[4], 0.05)


class BadToggles(Case):
    def test_missing_then_made(self) -> None:
        self.toggle.path.unlink()
        probe = self.probe()
        self.assert_works(probe)
        self.toggle.path.write_text("1\n")
        probe.until("launch", UNKNOWN)

    def test_its_directory_is_missing_then_made(self) -> None:
        place = self.place / "later"
        probe = self.probe(toggle=place / "toggle")
        self.assert_works(probe)
        place.mkdir()
        (place / "toggle").write_text("1\n")
        probe.until("launch", UNKNOWN)

    def test_deleted_and_replaced_while_in_use(self) -> None:
        self.toggle.rules("xid=79")
        probe = self.probe()
        self.assertEqual(probe("launch"), UNKNOWN)
        self.toggle.path.unlink()
        probe.until("launch", 0)
        other = self.place / "other"
        other.write_text("1\n")
        other.rename(self.toggle.path)
        probe.until("launch", UNKNOWN)

    def test_truncated_and_rewritten_again_and_again_while_in_use(self) -> None:
        probe = self.probe()
        probe("launch")
        probe.send("threads 2 3000000")
        for number in range(300):
            self.toggle.path.write_text(f"{number % 2}\n")  # truncates, then writes, as a shell does
        self.toggle.path.write_text("0\n")
        self.assertGreaterEqual(int(probe.answer()), 0)
        probe.until("launch", 0)

    def test_only_the_first_byte_counts(self) -> None:
        probe = self.probe()
        for content, expected in (
            ("1", UNKNOWN),
            ("", 0),
            ("1\n", UNKNOWN),
            ("\n1", 0),
            ("\0", 0),
            ("1junk", UNKNOWN),
            ("yes", 0),
        ):
            with self.subTest(content):
                self.toggle.path.write_text(content)
                probe.until("launch", expected)

    def test_read_only(self) -> None:
        self.toggle.rules("xid=48")
        self.toggle.path.chmod(0o444)
        self.assertEqual(self.probe()("launch"), ECC)

    def test_a_directory_or_a_pipe_in_its_place(self) -> None:
        for make in (Path.mkdir, os.mkfifo):
            with self.subTest(make):
                path = self.place / make.__name__
                make(path)
                probe = self.probe(toggle=path)
                self.assert_works(probe)
                self.assertEqual(len(probe.said()), 1)
                self.assertIn("is passed over: it is no file", probe.said()[0])

    def test_a_relative_path_is_refused(self) -> None:
        probe = self.probe(toggle=Path("relative"))
        self.assert_works(probe)
        self.assertIn("DYNAMO_FAULT_CUDA_FILE is not an absolute path: relative", probe.said()[0])

    @unittest.skipUnless(IS_ROOT, "only root can give a file away")
    def test_of_another_user(self) -> None:
        self.toggle.rules("xid=79")
        os.chown(self.toggle.path, 65534, 65534)
        probe = self.probe()
        self.assert_works(probe)
        self.assertEqual(len(probe.said()), 1)
        self.assertIn("belongs to user 65534, neither root nor this process' user", probe.said()[0])

    @unittest.skipUnless(IS_ROOT, "only root can become another user")
    def test_not_readable(self) -> None:
        self.toggle.rules("xid=79")
        self.toggle.path.chmod(0o600)
        self.open_to_all()
        probe = self.probe(preexec_fn=lambda: os.setuid(65534))
        self.assert_works(probe)
        self.assertIn("is passed over: Permission denied", probe.said()[0])

    def test_wrong_rules_fail_nothing_and_say_so(self) -> None:
        rules = {
            "xid=7": "unknown XID",
            "gpu=0": "a rule has neither an XID nor an error",
            "xid=79 gpu=first": "a rule's gpu is neither 'all' nor an index nor a UUID",
            "xid=79 classes=launch,lunch": "a rule has an unknown class of calls",
            "xid=79 colour=red": "a rule has an unknown key",
            "xid": "a rule has a word without '='",
        }
        for rule, problem in rules.items():
            with self.subTest(rule):
                self.toggle.rules(rule)
                probe = self.probe()
                self.assert_works(probe)
                self.assertEqual(len(probe.said()), 1)
                self.assertTrue(probe.said()[0].endswith(f"is wrong: {problem}"), probe.said())

    def test_a_torn_page_changes_nothing(self) -> None:
        probe = self.probe()
        probe("launch")
        self.toggle.path.write_text("1\ndynamo-fault-cuda 1\nrule xid=7")
        self.assertEqual({probe("launch") for _ in range(1000)}, {0})
        self.toggle.rules("xid=48")
        probe.until("launch", ECC)

    @unittest.skipUnless(IS_ROOT, "only root can mount a file system")
    def test_a_full_disk(self) -> None:
        disk = self.place / "disk"
        disk.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "none", str(disk)], check=False)
        if mounted.returncode:
            self.skipTest("no tmpfs can be mounted")
        self.addCleanup(lambda: subprocess.run(["umount", "-l", str(disk)], check=True))
        toggle = Toggle(disk, "1\n")
        with (disk / "fill").open("wb", buffering=0) as fill, self.assertRaises(OSError):
            while True:
                fill.write(b"x" * 4096)
        probe = self.probe(toggle=toggle.path)
        self.assertEqual([probe("launch"), probe("free")], [UNKNOWN, 0])
        self.assertEqual(len(probe.said()), 1)
        self.assertRegex(probe.said()[0], "no counters at .*No space left on device")
        probe.end()

    def test_the_counters_directory_goes_away(self) -> None:
        self.toggle.rules("xid=79")
        probe = self.probe()
        probe("launch")
        shutil.rmtree(self.toggle.counters)
        self.assertEqual(probe("launch"), UNKNOWN)


class UsualPaths(Case):
    """Upstream's files and variables, with the directories put elsewhere by the compiler."""

    def setUp(self) -> None:
        super().setUp()
        self.host, self.own = self.place / "host-fault", self.place / "tmp"
        for directory in (self.host, self.own):
            directory.mkdir()
        paths = (f'-DHOST_DIRECTORY="{self.host}"', f'-DOWN_DIRECTORY="{self.own}"')
        self.shim = build.library(f"usual-{os.getpid()}.so", *paths)

    def usual(self, **variables: str) -> Probe:
        probe = Probe(build, "proc", None, preload=str(self.shim), **variables)
        self.addCleanup(probe.errors.close)
        self.addCleanup(lambda: self.assertEqual(probe.end(), 0, probe.said()))
        return probe

    def test_the_hosts_file_comes_first_and_the_own_one_counts_without_it(self) -> None:
        probe = self.usual()
        self.assertEqual(probe("launch"), 0)
        (self.own / "cuda_fault_enabled").write_text("1\n")
        probe.until("launch", UNKNOWN)
        (self.host / "cuda_fault_enabled").write_text("0\n")
        probe.until("launch", 0)
        (self.host / "cuda_fault_enabled").unlink()
        probe.until("launch", UNKNOWN)

    def test_the_variable_decides_while_there_is_no_file(self) -> None:
        probe = self.usual(CUDA_FAULT_INJECTION_ENABLED="1", CUDA_XID_TYPE="94")
        self.assertEqual(probe("launch"), ECC)
        (self.own / "cuda_fault_enabled").write_text("0")
        probe.until("launch", 0)
        (self.own / "cuda_fault_enabled").write_text("1")
        probe.until("launch", ECC)

    def test_passthrough(self) -> None:
        self.assert_works(self.usual(CUDA_FAULT_INJECTION_ENABLED="0"))

    def test_an_unknown_xid_fails_nothing(self) -> None:
        probe = self.usual(CUDA_FAULT_INJECTION_ENABLED="true", CUDA_XID_TYPE="7")
        self.assert_works(probe)
        self.assertEqual(len(probe.said()), 1)
        self.assertIn("CUDA_XID_TYPE is wrong: unknown XID", probe.said()[0])


class Harmless(Case):
    def run_preloaded(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = build.environment(self.toggle.path, **variables)
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)

    @unittest.skipUnless(NATIVE, "needs programs of this machine")
    def test_a_shell_python_and_a_pipeline_run_as_ever(self) -> None:
        self.toggle.rules("xid=79")
        commands = {
            ("/bin/sh", "-c", "echo a | cat && exit 3"): ("a\n", 3),
            ("bash", "-c", "x=$(ls /proc/self/task | wc -l); echo $x"): ("1\n", 0),
            (sys.executable, "-c", "import ssl, ctypes, threading; print(threading.active_count())"): ("1\n", 0),
        }
        for command, expected in commands.items():
            with self.subTest(command):
                done = self.run_preloaded(*command)
                self.assertEqual((done.stdout, done.returncode, done.stderr), (*expected, ""))
        self.assertEqual(list(self.toggle.counters.iterdir()), [], "a program without CUDA has left a trace")

    @unittest.skipUnless(NATIVE, "needs programs of this machine")
    def test_a_program_without_cuda_gets_no_thread(self) -> None:
        script = "import os; print(len(os.listdir('/proc/self/task')))"
        self.assertEqual(self.run_preloaded(sys.executable, "-c", script).stdout, "1\n")

    def test_a_static_program(self) -> None:
        source = self.place / "static.c"
        source.write_text("int main(void) { return 7; }\n")
        gcc("-static", "-o", self.place / "static", source)
        done = self.run_preloaded(*EMULATOR, str(self.place / "static"))
        self.assertEqual((done.returncode, done.stderr), (7, ""))

    @unittest.skipUnless(IS_ROOT and NATIVE, "only root can make a program that changes its user")
    def test_a_program_that_changes_its_user(self) -> None:
        """The dynamic linker drops a preload with a path there; a copy that it trusts stays passive (AT_SECURE)."""
        self.open_to_all()
        self.toggle.rules("xid=79")
        program = self.place / "setuid"
        shutil.copy(build.linked, program)
        os.chown(program, 65533, 65533)
        program.chmod(0o6755)
        probe = Probe(build, "link", self.toggle.path, executable=program)
        self.addCleanup(probe.errors.close)
        self.assertEqual(probe("launch"), 0)
        self.assertEqual(probe.end(), 0)

    @unittest.skipUnless(NATIVE, "needs two architectures")
    def test_a_library_of_another_architecture(self) -> None:
        foreign = self.place / "foreign.so"
        data = bytearray(build.shim.read_bytes())
        machine = 183 if data[18] == 62 else 62  # e_machine: aarch64, x86-64
        data[18:20] = machine.to_bytes(2, "little")
        foreign.write_bytes(data)
        probe = self.probe("proc", preload=str(foreign))
        self.assert_works(probe)
        self.assertEqual(len(probe.said()), 1)
        self.assertIn("cannot be preloaded", probe.said()[0])

    def test_loaded_twice(self) -> None:
        copy = self.place / "copy.so"
        shutil.copy(build.shim, copy)
        for way in ("proc", "dlsym", "link"):
            with self.subTest(way):
                self.toggle.rules(on="0")
                probe = self.probe(way, preload=f"{build.shim} {copy}")
                self.assert_works(probe)
                self.assertEqual(len(probe.said()), 1)
                self.assertIn("loaded twice; this copy does nothing", probe.said()[0])
                self.toggle.rules("xid=79")
                probe.until("launch", UNKNOWN)
                self.toggle.rules(on="0")
                probe.until("launch", 0)

    def test_beside_another_interposer_of_dlsym(self) -> None:
        source = self.place / "other.c"
        source.write_text(
            "#define _GNU_SOURCE\n#include <dlfcn.h>\n"
            "static void *(*next)(void *, const char *);\n"
            "void *dlsym(void *handle, const char *name) {\n"
            '    if (!next) next = (void *(*)(void *, const char *))dlvsym(RTLD_NEXT, "dlsym", OLDEST);\n'
            "    return next(handle, name);\n}\n"
        )
        other = self.place / "other.so"
        oldest = '"GLIBC_2.17"' if "aarch64" in " ".join([*CC, os.uname().machine]) or EMULATOR else '"GLIBC_2.2.5"'
        gcc("-shared", "-fPIC", "-w", f"-DOLDEST={oldest}", "-o", other, source, "-ldl")
        for order in (f"{build.shim} {other}", f"{other} {build.shim}"):
            with self.subTest(order):
                self.toggle.rules(on="0")
                probe = self.probe("proc", preload=order)
                self.assert_works(probe)
                if order.startswith(str(build.shim)):  # the other one asks past us for the C library's dlsym
                    self.toggle.rules("xid=79")
                    probe.until("launch", UNKNOWN)

    @unittest.skipUnless(NATIVE, "needs programs of this machine")
    def test_next_is_next_to_the_caller_for_other_names(self) -> None:
        """A wrapper of malloc that is loaded after the shim must not find itself."""
        source = self.place / "wrapper.c"
        source.write_text(
            "#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <stdlib.h>\n"
            "int calls;\nvoid *reallocarray(void *p, size_t n, size_t s) {\n"
            "    calls++;\n"
            '    void *(*next)(void *, size_t, size_t) = (void *)dlsym(RTLD_NEXT, "reallocarray");\n'
            "    return calls > 1 ? NULL : next(p, n, s);\n}\n"
        )
        program = self.place / "program.c"
        program.write_text(
            "#define _GNU_SOURCE\n#include <stdlib.h>\nint main(void) { return reallocarray(NULL, 3, 3) ? 0 : 1; }\n"
        )
        gcc("-shared", "-fPIC", "-w", "-o", self.place / "wrapper.so", source, "-ldl")
        gcc("-w", "-o", self.place / "program", program)
        done = self.run_preloaded(str(self.place / "program"), preload=f"{build.shim} {self.place / 'wrapper.so'}")
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    @unittest.skipUnless(NATIVE, "Python is not emulated")
    def test_a_thread_less_machine_is_served_by_looks_from_calls(self) -> None:
        """No watcher can be started: the limit on processes counts threads, but not those of root."""
        if IS_ROOT:
            self.open_to_all()

        def limit() -> None:
            import resource

            if IS_ROOT:
                os.setuid(65531)
            resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))

        probe = self.probe(preexec_fn=limit)
        self.assert_works(probe)
        self.assertIn("no thread to watch the toggle", probe.said()[0])
        self.toggle.rules("xid=79")
        self.toggle.path.chmod(0o644)
        probe.until("launch", UNKNOWN)
        self.toggle.rules(on="0")
        probe.until("launch", 0)


class Checked(Case):
    """The same under tools that see what tests do not."""

    def exercise(self, probe: Probe) -> None:
        self.assert_works(probe)
        self.assertEqual([probe("odd"), probe("fork"), probe("threads 4 2000")], [0, 0, 0])
        self.toggle.rules("xid=79 gpu=0", "xid=48")
        probe.until("launch", ECC)
        self.assertEqual([probe("use 0"), probe("launch"), probe("odd"), probe("fork")], [0, UNKNOWN, UNKNOWN, 43 - 1])
        self.toggle.path.write_text("0\n")
        probe.until("launch", 0)
        if probe.process.args[-1] == "proc":  # type: ignore[index]
            self.assertEqual(probe("reopen 20"), 0)

    def sanitized(self, *flags: str, library: str = "") -> None:
        if not NATIVE:
            self.skipTest("sanitizers are not emulated")
        fixed = (
            ["setarch", "-R"] if shutil.which("setarch") else []
        )  # older sanitizers want addresses as they know them
        with tempfile.TemporaryDirectory(prefix="cuda-shim-") as place:
            checked = Build(Path(place), *flags)
            runtime = subprocess.run([*CC, f"-print-file-name={library}"], capture_output=True, text=True, check=True)
            preload = f"{runtime.stdout.strip()} {checked.shim}" if library else str(checked.shim)
            for way in ("proc", "link"):
                with self.subTest(way):
                    self.toggle.rules(on="0")
                    options = {
                        "preload": preload,
                        "wrapper": fixed,
                        "ASAN_OPTIONS": "detect_leaks=0",
                        "TSAN_OPTIONS": "die_after_fork=0",
                    }
                    probe = Probe(checked, way, self.toggle.path, **options)
                    self.addCleanup(probe.errors.close)
                    self.exercise(probe)
                    self.assertEqual(probe.end(), 0, probe.said())
                    self.assertEqual(probe.said(), [])

    def test_address_sanitizer(self) -> None:
        self.sanitized("-fsanitize=address", library="libasan.so")

    def test_undefined_behaviour_sanitizer(self) -> None:
        self.sanitized("-fsanitize=undefined", "-fno-sanitize-recover=all")

    def test_thread_sanitizer(self) -> None:
        self.sanitized("-fsanitize=thread", library="libtsan.so")

    @unittest.skipUnless(shutil.which("valgrind") and NATIVE, "valgrind is not installed")
    def test_valgrind(self) -> None:
        options = [
            "valgrind",
            "-q",
            "--error-exitcode=9",
            "--leak-check=full",
            "--errors-for-leak-kinds=definite",
            "--show-leak-kinds=definite",
        ]
        environment = build.environment(self.toggle.path)
        commands = "init\nlaunch\ncopy\nwait\nthreads 2 2000\nlaunch\n"
        for way, program in (("proc", build.probe), ("link", build.linked)):
            for state in ("0", "1"):
                with self.subTest(way=way, state=state):
                    self.toggle.rules("xid=48", on=state)
                    done = subprocess.run(
                        [*options, str(program), way],
                        env=environment,
                        input=commands,
                        capture_output=True,
                        text=True,
                        timeout=120,
                        check=False,
                    )
                    self.assertEqual((done.returncode, done.stderr), (0, ""))


class List(unittest.TestCase):
    def test_it_is_sorted_without_doubles(self) -> None:
        lines = (Path(__file__).resolve().parents[1] / "src" / "entries.def").read_text().splitlines()
        names = [line[5 : line.index(",")] for line in lines if line.startswith("CALL(")]
        self.assertGreater(len(names), 400)
        self.assertEqual(names, sorted(set(names)))

    @unittest.skipUnless(NATIVE, "needs this machine's library")
    def test_only_cudas_names_and_the_dynamic_linkers_two_are_exported(self) -> None:
        library = ctypes.CDLL(None)
        self.assertIsNotNone(library)
        listed = subprocess.run(
            ["nm", "-D", "--defined-only", str(build.shim)], capture_output=True, text=True, check=True
        )
        names = {line.split()[-1] for line in listed.stdout.splitlines()}
        foreign = {name for name in names if not name.startswith("cu")}
        self.assertEqual(foreign, {"dlsym", "dlvsym", "dynamo_fault_cuda_shim"})


if __name__ == "__main__":
    unittest.main()
