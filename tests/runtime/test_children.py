from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil
import pytest

from backend.runtime.children import ChildProcess, RestartPolicy
from backend.runtime.embedded import NotReady
from backend.runtime.errors import ProcessKeepsDying
from backend.runtime.process import Command, Identity
from tests.runtime.output import Lines

_QUICK = RestartPolicy(instant_s=5, deaths=3, base_s=0.01, cap_s=0.02, hung_s=0.3)


class Script:
    """A program of a few lines of Python; ready when `ready_file` exists."""

    name = "script"

    def __init__(self, code: str, cwd: Path, ready_file: Path | None = None) -> None:
        self._code = code
        self._cwd = cwd
        self._ready_file = ready_file
        self.answers: Path | None = None  # it does as long as this file is there
        self.repaired_after: list[str] = []
        self.starts = 0

    def prepare(self) -> None:
        self.starts += 1

    def command(self) -> Command:
        return Command(argv=(sys.executable, "-c", self._code), env=dict(os.environ), cwd=self._cwd)

    def repair(self, last_lines: Iterable[str]) -> str:
        self.repaired_after += last_lines
        return "put right" if self.repaired_after else ""

    def check(self) -> None:
        if self.answers is not None and not self.answers.exists():
            raise NotReady("it does not answer")

    def probe(self) -> None:
        if self._ready_file is not None and not self._ready_file.exists():
            raise NotReady(f"{self._ready_file.name} is missing")


def _child(program: Script, output: Lines) -> ChildProcess:
    return ChildProcess(program, output, lambda: None, policy=_QUICK)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.02)


async def test_a_program_that_keeps_dying_is_given_up_with_its_last_lines(
    tmp_path: Path,
) -> None:
    program = Script("print('no such table'); raise SystemExit(3)", tmp_path)
    with pytest.raises(
        ProcessKeepsDying, match=r"script died 3 times .*exit code 3.*\n  no such table"
    ):
        await _child(program, Lines()).run()
    assert program.starts == 3


async def test_a_killed_program_is_prepared_and_started_again(tmp_path: Path) -> None:
    program, output = Script("import time; time.sleep(60)", tmp_path), Lines()
    child = _child(program, output)
    running = asyncio.create_task(child.run())
    await _until(child.ready.is_set)
    first = child.identity
    assert first is not None
    os.kill(first.pid, signal.SIGKILL)
    # A process that has just died has no start time any more: that isn't a new one.
    await _until(lambda: program.starts == 2 and child.ready.is_set())
    assert child.identity not in {None, first}
    await child.stop(5)
    await running
    assert output.remarks == ["script died, starting it again"]


async def test_ready_means_that_the_probe_said_so(tmp_path: Path) -> None:
    ready_file = tmp_path / "ready"
    child = _child(Script("import time; time.sleep(60)", tmp_path, ready_file), Lines())
    running = asyncio.create_task(child.run())
    await _until(lambda: child.identity is not None)
    await asyncio.sleep(0.2)
    assert not child.ready.is_set()
    assert child.why_not_ready() == "ready is missing"
    ready_file.touch()
    await _until(child.ready.is_set)
    await child.stop(5)
    await running


async def test_a_program_that_ignores_the_request_to_stop_is_killed_after_its_patience(
    tmp_path: Path,
) -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf',"
        " flush=True); time.sleep(60)"
    )
    output = Lines()
    child = _child(Script(code, tmp_path), output)
    running = asyncio.create_task(child.run())
    await _until(lambda: output.lines == ["deaf"])
    began = time.monotonic()
    await child.stop(0.3)
    await running
    assert 0.3 <= time.monotonic() - began < 30  # the program would sleep for 60 s
    assert output.remarks == ["script did not stop in time, killing it"]


async def test_a_program_that_was_ready_and_does_not_answer_any_more_is_started_again(
    tmp_path: Path,
) -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    program, output = Script(deaf, tmp_path), Lines()
    program.answers = tmp_path / "answers"
    program.answers.touch()
    child = ChildProcess(program, output, lambda: None, policy=_QUICK, hang_s=0.4)
    running = asyncio.create_task(child.run())
    await _until(child.ready.is_set)
    first = child.identity
    await asyncio.sleep(0.8)
    assert child.identity == first
    program.answers.unlink()
    # Though it ignores the request to end.
    await _until(lambda: child.identity not in {None, first} and len(output.remarks) > 1)
    program.answers = None
    assert output.remarks[:2] == [
        "script does not answer, ending it",
        "script died, starting it again",
    ]
    await child.stop(0.1)
    await running


async def test_what_kept_a_program_from_becoming_ready_is_fixed_before_the_next_start(
    tmp_path: Path,
) -> None:
    program, output = (
        Script("print('file is corrupt'); raise SystemExit(1)", tmp_path, tmp_path / "never"),
        Lines(),
    )
    with pytest.raises(ProcessKeepsDying):
        await _child(program, output).run()
    assert program.repaired_after == ["file is corrupt"] * 3
    assert output.remarks[:2] == ["put right", "script died, starting it again"]


async def test_processes_that_a_dead_program_leaves_in_its_group_are_ended(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    output = Lines()
    child = _child(Script(code, tmp_path), output)
    running = asyncio.create_task(child.run())
    await _until(lambda: bool(output.lines))
    orphan = Identity.of(int(output.lines[0]))
    identity = child.identity
    assert identity is not None
    child.stop_restarting()
    os.kill(identity.pid, signal.SIGKILL)
    await running
    await _until(lambda: not orphan.is_alive())


async def test_a_line_is_passed_on_complete_however_it_arrives(tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "for part in ('a' * 70000, 'b', '\\nend'):\n"
        "    sys.stdout.write(part); sys.stdout.flush(); time.sleep(0.05)"
    )
    output = Lines()
    child = _child(Script(code, tmp_path), output)
    assert await child.run_to_end() == 0
    assert output.lines == ["a" * 70000 + "b", "end"]


async def test_a_child_does_not_outlive_its_parent(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom backend.runtime.process import"
        " Command\ncommand = Command(argv=(sys.executable, '-c', 'import time; time.sleep(60)'),"
        " env={}, cwd=Path('/'))\nasync def main():\n    process = await"
        " asyncio.create_subprocess_exec(*command.argv, **command.popen_options())\n   "
        " print(process.pid, flush=True)\n    await process.wait()\nasyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    child = psutil.Process(int(await parent.stdout.readline()))
    parent.kill()
    await parent.wait()
    if sys.platform == "linux":
        await asyncio.to_thread(child.wait, 5)
    else:
        child.kill()
