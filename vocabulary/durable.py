"""Files that are there whole, or as they were before, also after a power cut."""

import os
import tempfile
from pathlib import Path
from secrets import token_hex


def replace_file(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Make `content` the file's, durably before this returns, with `mode` from birth.

    Raise OSError with the file untouched if that fails.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    written = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        written.replace(path)
    except BaseException:
        written.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def create_file(path: Path, content: bytes) -> None:
    """Make the file for this user alone, durably before this returns.

    Raise FileExistsError, with nothing changed, if there is one: where a key is kept,
    replacing what is there would lose it.
    """
    draft = path.with_name(f".{path.name}.{token_hex(8)}")
    replace_file(draft, content)
    try:
        # A link, not a rename: it appears whole, and never over what is there.
        os.link(draft, path)
    finally:
        draft.unlink()
    _sync_directory(path.parent)


def create_directory(path: Path) -> None:
    """Make the directory for this user alone, durably, unless it is there."""
    if not path.is_dir():
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    """A rename is durable once the directory that names the file is."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
