"""The instance that the demo is played on: a child that `ristmik up` runs in."""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cli.failures import OUT_OF_REACH, CommandFailure, OutOfReach, Refused
from cli.output import Output
from cli.sandbox.log_tail import log_tail

ROOT: Final = Path(__file__).parents[2]
# Longer than the instance itself waits for its programs to stop.
STOPPED_WITHIN_S: Final = 300.0


@dataclass(slots=True)
class Place:
    """A directory for an instance, and whether it is left when the demo is over."""

    path: Path
    is_left: bool

    @property
    def log(self) -> Path:
        """What the supervisor says, beside the directory, which must begin empty."""
        return self.path.with_name(f"{self.path.name}.log")


@contextmanager
def instance_directory(given: Path | None, *, keep: bool) -> Iterator[Place]:
    """Give a place; one that was not given is removed, unless something went wrong."""
    if given is not None:
        yield Place(given.absolute(), is_left=True)
        return
    place = Place(Path(tempfile.mkdtemp(prefix="ristmik-demo-")), is_left=keep)
    try:
        yield place
    except KeyboardInterrupt:
        _remove(place)
        raise
    if not place.is_left:
        _remove(place)


@contextmanager
def running_instance(place: Place, output: Output, *, keep: bool) -> Iterator[None]:
    """Run an instance meanwhile; what interrupts the demo stops it, kept or not."""
    output.note(f"starting an instance in {place.path}, with its log in {place.log}")
    with output.notes.status("starting PostgreSQL, the authorities and the servers"):
        child = _start(place)
    try:
        yield
    except BaseException:
        _stop(child)
        raise
    if not keep:
        with output.notes.status("stopping the instance"):
            status = _stop(child)
        if status != 0:
            raise _ended(status, place.log)


def _remove(place: Place) -> None:
    shutil.rmtree(place.path)
    place.log.unlink(missing_ok=True)


def _start(place: Place) -> "subprocess.Popen[bytes]":
    """Start it, and wait until it says that it is ready."""
    command = [sys.executable, "-m", "cli", "up", "--dir", str(place.path), "--json"]
    with place.log.open("ab") as file:
        child = subprocess.Popen(  # noqa: S603 - a list of ours, no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=file,
            cwd=ROOT,
            # So that Ctrl-C reaches the demo alone, which then stops it.
            start_new_session=True,
        )
    try:
        said = _said(child)
    except BaseException:
        _stop(child)
        raise
    if "servers" in said:
        return child
    raise _not_started(said.get("error"), child.wait(), place.log)


def _said(child: "subprocess.Popen[bytes]") -> Mapping[str, Any]:
    """Give the one document that it prints, nothing if it ended without."""
    if child.stdout is None:
        return {}
    with child.stdout as stdout:
        return dict(json.loads(stdout.readline() or b"{}"))


def _not_started(
    error: Mapping[str, str] | None, status: int, log: Path
) -> CommandFailure:
    if error is None:
        return _ended(status, log)
    if status == OUT_OF_REACH:
        return OutOfReach(error["detail"], code=error["code"])
    return Refused(error["code"], error["detail"])


def _ended(status: int, log: Path) -> Refused:
    said = f"the instance ended with status {status}; {log} ends:\n{log_tail(log)}"
    return Refused("PROGRAM_FAILED", said)


def _stop(child: "subprocess.Popen[bytes]") -> int:
    child.send_signal(signal.SIGTERM)
    return child.wait(STOPPED_WITHIN_S)
