"""Starting an instance in the foreground, and asking a running one to stop."""

import asyncio
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cli.failures import DONE, INTERRUPTED, NOT_SO, OutOfReach
from cli.output import Output, print_document
from cli.postgres.private import VARIABLE
from cli.sandbox.directory import InstanceDirectory
from cli.sandbox.directory_lock import DirectoryLock, InUse
from cli.sandbox.failures import ProgramFailed
from cli.sandbox.running import SandboxInstance

# Longer than all that `up` may wait for when it stops.
_STOPPED_WITHIN_S = 300.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def up(directory: Path, *, as_json: bool, keep_going: bool = False) -> int:
    """Run the instance until a signal stops it; give the exit status.

    A program that dies ends it, with the status saying so; with `keep_going` the others
    run on until a signal, and only the status says so. Raises CommandFailure, with all
    stopped, when it cannot be started.
    """
    return asyncio.run(_up(directory, Output(as_json=as_json), keep_going=keep_going))


def down(directory: Path, *, as_json: bool) -> int:
    """Stop the instance and wait until it is stopped; nothing to stop is fine too.

    Stops as well what a supervisor that was killed has left. Raises CommandFailure
    where there is no instance, or when it does not stop.
    """
    output = Output(as_json=as_json)
    place = InstanceDirectory(directory.absolute())
    if not place.exists():
        raise OutOfReach(
            f"there is no instance in {directory}: name its directory with --dir"
        )
    try:
        asyncio.run(_instance(directory, output).stop_left_running())
    except InUse as in_use:
        _stop_supervisor(place, in_use)
    document = {"dir": str(place.path), "stopped": True}
    output.result(document, f"the instance in {directory} is stopped")
    return DONE


async def _up(directory: Path, output: Output, *, keep_going: bool) -> int:
    told_to_stop = asyncio.Event()
    for number in _SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, told_to_stop.set)
    instance = _instance(directory, output)
    stopping = asyncio.create_task(told_to_stop.wait())
    starting = asyncio.create_task(instance.start())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        output.note("stopping before all was started")
        starting.cancel()
        await asyncio.wait({starting})
        return INTERRUPTED
    document = starting.result()
    try:
        _show(document, output)
        ends = asyncio.create_task(instance.one_ended())
        awaited = {stopping} if keep_going else {stopping, ends}
        await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        died = ends.done()
        ends.cancel()
    finally:
        output.note("stopping")
        well = await instance.stop()
    return DONE if well and not died else NOT_SO


def _instance(directory: Path, output: Output) -> SandboxInstance:
    postgres = os.environ.get(VARIABLE)
    return SandboxInstance(directory, postgres=postgres, report=output.note)


def _show(document: Mapping[str, Any], output: Output) -> None:
    if output.as_json:
        print_document(document)
        return
    servers = "\n".join(
        f"  {server['id']}  {server['local']}" for server in document["servers"]
    )
    output.show(
        f"{document['instance']} is ready in {document['dir']}. Information systems "
        f"call their security servers at\n{servers}\nCtrl-C or `ristmik down` stops it."
    )


def _stop_supervisor(place: InstanceDirectory, in_use: InUse) -> None:
    supervisor = DirectoryLock(place.lock).holder()
    if supervisor is None:
        # It has not written down who it is yet, or is of another user.
        raise in_use
    supervisor.send(signal.SIGTERM)
    ended = supervisor.has_ended(within_s=_STOPPED_WITHIN_S)
    supervisor.close()
    if not ended:
        raise ProgramFailed(
            f"the supervisor (pid {supervisor.pid}) does not stop: see "
            f"{place.path / 'logs'} for which program it waits for"
        )
