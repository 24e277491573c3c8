"""Keeps the programs of an instance running: starts, watches and stops them.

Each runs in a session of its own, so that Ctrl-C reaches the supervisor alone, which
stops them in order. None is restarted: one that dies is a finding, not an annoyance.
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cli.sandbox.failures import ProgramFailed
from cli.sandbox.log_tail import log_tail
from cli.sandbox.processes import RunningProgram, find_by_command

READY_WITHIN_S = 180.0
# Longer than a service gives the calls that it is answering.
STOP_WITHIN_S = 30.0
_POLL_S = 0.1
_REPORT_EVERY_S = 10.0
# Told to stop before it could listen to that, a program ends by the signal itself.
_STOPPED = (0, -signal.SIGTERM)
_DIRECT = dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1,localhost")

Report = Callable[[str], None]


class NotReady(Exception):
    """What a program still lacks to be ready."""


# Returns once a program is ready, raises NotReady with the reason while it is not.
Check = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Program:
    name: str
    command: tuple[str, ...]
    log: Path


@dataclass(frozen=True, slots=True)
class Ended:
    """A program that ended before it was told to; no status if it was no child."""

    name: str
    status: int | None
    log: Path

    def __str__(self) -> str:
        return f"{self.name} ended {_words(self.status)}"

    def with_log(self) -> str:
        return f"{self}; {self.log} ends:\n{log_tail(self.log)}"


@dataclass(frozen=True, slots=True)
class _Child:
    program: Program
    running: RunningProgram


class Runner(Protocol):
    """Whatever starts programs."""

    def start(self, *programs: Program, wave: int) -> None:
        """Start programs, of a wave that is stopped together."""

    async def until_ready(self, name: str, check: Check) -> None:
        """Wait until the check of a program passes, or raise ProgramFailed."""

    def pid(self, name: str) -> int | None:
        """None if it runs on another machine."""


class Supervisor:
    """Starts programs, and stops them wave by wave, the highest first."""

    def __init__(self, *, directory: Path, report: Report) -> None:
        """Programs run in `directory`, from which their modules are imported."""
        self._directory = directory
        self._report = report
        self._waves: dict[int, dict[str, _Child]] = {}
        self._ended: dict[str, Ended] = {}
        self._one_ended = asyncio.Event()

    def start(self, *programs: Program, wave: int = 0) -> None:
        """Start programs of a wave; it does not wait for them to be ready."""
        for program in programs:
            running = RunningProgram.of_child(self._spawn(program))
            child = _Child(program, running)
            self._waves.setdefault(wave, {})[program.name] = child
            self._watch(child)

    def watch(self, name: str, *, descriptor: int, log: Path) -> None:
        """Watch a program that is started and stopped elsewhere."""

        def note() -> None:
            self._forget(descriptor)
            self._note(Ended(name, None, log))

        asyncio.get_running_loop().add_reader(descriptor, note)

    def unwatch(self, descriptor: int) -> None:
        self._forget(descriptor)

    def pid(self, name: str) -> int:
        return self._child(name).running.pid

    @property
    def ended(self) -> Sequence[Ended]:
        return tuple(self._ended.values())

    async def one_ended(self) -> None:
        """Wait until a program has ended that was not told to."""
        await self._one_ended.wait()

    async def until_ready(self, name: str, check: Check) -> None:
        """Wait until the check of a program passes; raise ProgramFailed if it ended."""
        waited, reported = 0.0, 0.0
        while True:
            if name in self._ended:
                ended = self._ended[name]
                raise ProgramFailed(f"{ended}: see {ended.log}")
            try:
                await check()
            except NotReady as reason:
                if waited >= READY_WITHIN_S:
                    log = self._child(name).program.log
                    raise ProgramFailed(
                        f"{name} is not ready after {waited:.0f} s: {reason}; {log} "
                        f"ends:\n{log_tail(log)}"
                    ) from reason
                if waited - reported >= _REPORT_EVERY_S:
                    reported = waited
                    self._report(f"waiting for {name}, {waited:.0f} s: {reason}")
            else:
                return
            await asyncio.sleep(_POLL_S)
            waited += _POLL_S

    async def stop(self) -> bool:
        """Stop all, the highest wave first; False if one did not end as it should."""
        well = True
        while self._waves:
            wave = self._waves.pop(max(self._waves))
            ends = [self._stop(child) for child in wave.values()]
            well = all(await asyncio.gather(*ends)) and well
        return well

    def _spawn(self, program: Program) -> subprocess.Popen[bytes]:
        with program.log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - a list of ours, no shell
                program.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._directory,
                # A proxy set in the environment must not see calls within the machine.
                env=os.environ | _DIRECT,
                umask=0o077,
                start_new_session=True,
            )

    def _child(self, name: str) -> _Child:
        return next(wave[name] for wave in self._waves.values() if name in wave)

    def _watch(self, child: _Child) -> None:
        def note() -> None:
            self._forget(child.running.descriptor)
            status = child.running.status()
            self._note(Ended(child.program.name, status, child.program.log))

        asyncio.get_running_loop().add_reader(child.running.descriptor, note)

    def _forget(self, descriptor: int) -> None:
        asyncio.get_running_loop().remove_reader(descriptor)

    def _note(self, ended: Ended) -> None:
        self._ended[ended.name] = ended
        self._report(ended.with_log())
        self._one_ended.set()

    async def _stop(self, child: _Child) -> bool:
        name, running = child.program.name, child.running
        self._forget(running.descriptor)
        if name in self._ended:
            running.close()
            return False
        running.send(signal.SIGTERM)
        if not await asyncio.to_thread(running.has_ended, within_s=STOP_WITHIN_S):
            self._report(f"{name} does not stop within {STOP_WITHIN_S:.0f} s: killed")
            running.send(signal.SIGKILL)
            await asyncio.to_thread(running.has_ended, within_s=STOP_WITHIN_S)
        status = running.close()
        if status in _STOPPED:
            return True
        self._report(Ended(name, status, child.program.log).with_log())
        return False


async def stop_left_running(programs: Iterable[Program], *, report: Report) -> None:
    """Stop what a killed supervisor left: the programs with these very commands."""
    left = [
        (program, running)
        for program in programs
        for running in find_by_command(program.command)
    ]
    for program, running in left:
        report(f"stopping {program.name}, which was left running (pid {running.pid})")
        running.send(signal.SIGTERM)
    for _, running in left:
        if not await asyncio.to_thread(running.has_ended, within_s=STOP_WITHIN_S):
            running.send(signal.SIGKILL)
            await asyncio.to_thread(running.has_ended, within_s=STOP_WITHIN_S)
        running.close()


def _words(status: int | None) -> str:
    if status is None:
        return "by itself"
    if status < 0:
        return f"by signal {signal.Signals(-status).name}"
    return f"with status {status}"
