"""One launcher at a time on one directory."""

import fcntl
import os
from pathlib import Path

from cli.sandbox_failures import DirectoryUnusable


class DirectoryLock:
    """Held as long as its holder lives: the kernel lets go of it for a killed one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def take(self) -> None:
        """Raise DirectoryUnusable if somebody holds it."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise DirectoryUnusable(
                f"{self._path.parent} is in use by another launcher: stop that one "
                "(ristmik down), or choose another directory"
            ) from error
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
