"""Files that are made once: whole, durable, and never over another."""

import os
from pathlib import Path
from secrets import token_hex

from vocabulary.durable import replace_file


def create_file(path: Path, content: bytes) -> None:
    """Make the file for this user alone, durably before this returns.

    Raises FileExistsError, with nothing changed, if another made it first.
    """
    draft = path.with_name(f".{path.name}.{token_hex(8)}")
    replace_file(draft, content)
    try:
        # A link, not a rename: it appears whole, and never over what is there.
        os.link(draft, path)
    finally:
        draft.unlink()
        _sync(path.parent)


def create_directory(path: Path) -> None:
    """Make the directory for this user alone, durably, unless it is there."""
    if not path.is_dir():
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sync(path.parent)


def _sync(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
