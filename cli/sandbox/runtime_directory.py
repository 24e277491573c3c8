"""Directories for Unix sockets, whose paths have to be short.

The path of a Unix socket has at most 107 octets. Where the place that was meant is too
deep, its sockets live in a private directory under the system's temporary directory,
named by a hash of that place, so that the next start finds it again.
"""

import hashlib
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from cli.sandbox.failures import DirectoryUnusable

LONGEST_SOCKET_PATH = 107


def socket_directory(
    meant: Path, *, longest_name: str, uid: int | None = None, gid: int = -1
) -> Path:
    """Make a directory (0700) whose sockets have short enough paths, or find it again.

    Raises DirectoryUnusable for one that belongs to another than `uid` (by default the
    invoking user), since whoever owns it can answer in the server's name.
    """
    owner = os.geteuid() if uid is None else uid
    path = next((p for p in _places(meant) if _fits(p, longest_name)), None)
    if path is None:
        raise DirectoryUnusable(
            f"no place for Unix sockets: {meant} and {tempfile.gettempdir()} are too "
            "deep; choose a directory with a shorter path, or set TMPDIR to one"
        )
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        _require_private(path, owner)
    if owner != os.geteuid():
        os.chown(path, owner, gid, follow_symlinks=False)
    return path


def remove_socket_directory(path: Path, *, meant: Path) -> None:
    """Remove a directory made elsewhere than meant, once its servers have stopped."""
    if path == meant:
        return
    with suppress(FileNotFoundError):
        for left in path.iterdir():
            if left.is_socket():
                left.unlink()
    with suppress(OSError):
        path.rmdir()


def _places(meant: Path) -> tuple[Path, ...]:
    name = f"ristmik-{hashlib.sha256(os.fsencode(meant)).hexdigest()[:16]}"
    return meant, Path(tempfile.gettempdir()) / name, Path("/tmp") / name  # noqa: S108 - verified private below


def _fits(directory: Path, name: str) -> bool:
    return len(os.fsencode(directory / name)) <= LONGEST_SOCKET_PATH


def _require_private(path: Path, owner: int) -> None:
    status = path.lstat()
    # Ours and not yet handed over, if a start was cut off in between.
    if status.st_uid not in (owner, os.geteuid()) or not stat.S_ISDIR(status.st_mode):
        raise DirectoryUnusable(
            f"{path} belongs to user {status.st_uid}, who could answer there in the "
            "server's name: remove it, or set TMPDIR to a directory of your own"
        )
    if stat.S_IMODE(status.st_mode) != 0o700:  # noqa: PLR2004 - a file mode
        raise DirectoryUnusable(
            f"{path} is open to others (mode {stat.S_IMODE(status.st_mode):o}): "
            f"run chmod 0700 {path}"
        )
