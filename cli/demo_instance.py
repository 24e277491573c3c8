"""The instance that the demo is played on: a child that `ristmik up` runs in."""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from cli.failures import OUT_OF_REACH, CommandFailure, OutOfReach, Refused
from cli.log_tail import log_tail
from cli.output import Output

ROOT: Final = Path(__file__).parents[1]
# Longer than the instance itself waits for its programs to stop.
STOPPED_WITHIN_S: Final = 300.0


@contextmanager
def instance_directory(given: Path | None, *, keep: bool) -> Iterator[Path]:
    """Give a directory; one that was not given is removed again, unless it is kept."""
    if given is not None:
        yield given.absolute()
        return
    made = Path(tempfile.mkdtemp(prefix="ristmik-demo-"))
    try:
        yield made
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    if not keep:
        shutil.rmtree(made)


@contextmanager
def running_instance(place: Path, output: Output, *, keep: bool) -> Iterator[None]:
    """Run an instance meanwhile; what interrupts the demo stops it, kept or not."""
    log = place.with_name(f"{place.name}.log")
    output.note(f"starting an instance in {place}; what it says goes to {log}")
    with output.notes.status("starting PostgreSQL, the authorities and the servers"):
        child = _start(place, log)
    try:
        yield
    except BaseException:
        _stop(child)
        raise
    if not keep:
        with output.notes.status("stopping the instance"):
            status = _stop(child)
        if status != 0:
            raise _ended(status, log)
        log.unlink()


def _start(place: Path, log: Path) -> "subprocess.Popen[bytes]":
    """Start it, and wait until it says that it is ready."""
    command = [sys.executable, "-m", "cli", "up", "--dir", str(place), "--json"]
    with log.open("ab") as file:
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
    raise _not_started(said.get("error"), child.wait(), log)


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
