"""Watching and stopping programs that may be no children of ours.

After a supervisor was killed its programs run on, and their numbers stand in files. A
number may have been given to another program since: nothing is signalled before its
command line was recognised, and then through a descriptor that cannot change meaning.
"""

import os
import select
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self


class RunningProgram:
    """A program that runs, or ran when this was made."""

    def __init__(
        self, pid: int, descriptor: int, child: subprocess.Popen[bytes] | None = None
    ) -> None:
        self.pid = pid
        # Readable once the program has ended.
        self.descriptor = descriptor
        self._child = child

    @classmethod
    def of_child(cls, child: subprocess.Popen[bytes]) -> Self:
        return cls(child.pid, os.pidfd_open(child.pid), child)

    @classmethod
    def find(cls, pid: int, *, command_contains: str) -> Self | None:
        """None if it has ended, or if the number is another program's by now."""
        try:
            descriptor = os.pidfd_open(pid)
        except (OSError, OverflowError):
            return None
        # Read after it was opened: if this is ours, so is the descriptor.
        if command_contains in command_line(pid):
            return cls(pid, descriptor)
        os.close(descriptor)
        return None

    def send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.descriptor, number)

    def has_ended(self, *, within_s: float = 0) -> bool:
        poll = select.poll()
        poll.register(self.descriptor, select.POLLIN)
        return bool(poll.poll(within_s * 1000))

    def status(self) -> int | None:
        """Give the exit status of a child that has ended."""
        return None if self._child is None else self._child.wait()

    def close(self) -> int | None:
        """Let go of a program that has ended; give the exit status of a child."""
        os.close(self.descriptor)
        return self.status()


def find_by_command(command: Sequence[str]) -> Iterator[RunningProgram]:
    """Find the invoking user's programs that were started with this very command."""
    words = " ".join(command)
    for directory in Path("/proc").glob("[0-9]*"):
        pid = int(directory.name)
        if command_line(pid) == words and _belongs_to_invoker(directory):
            found = RunningProgram.find(pid, command_contains=words)
            if found is not None:
                yield found


def _belongs_to_invoker(directory: Path) -> bool:
    try:
        return directory.stat().st_uid == os.geteuid()
    except OSError:
        return False


def command_line(pid: int) -> str:
    """Words of a program's command with single spaces; empty once it has ended."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    return os.fsdecode(b" ".join(words)).strip()
