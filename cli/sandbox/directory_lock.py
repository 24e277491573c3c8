"""One launcher at a time on one directory, and who that is."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from cli.sandbox.failures import DirectoryUnusable
from cli.sandbox.processes import RunningProgram


class InUse(DirectoryUnusable):
    """A directory whose lock somebody holds."""


class DirectoryLock:
    """Held as long as its holder lives: the kernel lets go of it for a killed one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def take(self) -> None:
        """Write down who holds it from now on; raise InUse if somebody does."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise InUse(
                f"{self._path.parent} is in use by another launcher: stop that one "
                "(ristmik down), or choose another directory"
            ) from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, b"%d\n" % os.getpid())
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def holder(self) -> RunningProgram | None:
        """Find the program whose number is written down, if it has the file open."""
        try:
            pid = int(self._path.read_text())
        except (OSError, ValueError):
            return None
        program = RunningProgram.find(pid, command_contains="")
        if program is not None and not self._is_open_in(pid):
            program.close()
            return None
        return program

    def _is_open_in(self, pid: int) -> bool:
        path = self._path.resolve()
        with suppress(OSError):
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    if descriptor.readlink() == path:
                        return True
        return False
