"""The server of one data directory: started, taken over, waited for, stopped."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg

from cli.postgres.account import Account
from cli.postgres.binaries import Binaries
from cli.sandbox.failures import Interrupted, PostgresUnusable
from cli.sandbox.log_tail import log_tail
from cli.sandbox.processes import RunningProgram, command_line

SOCKET = ".s.PGSQL.5432"
_POLL_S = 0.05
_REPORT_EVERY_S = 5.0
_ORPHANS_GONE_WITHIN_S = 30.0
# A fast shutdown writes out what is in memory; an immediate one leaves it to recovery.
_FAST_SHUTDOWN_S = 120.0
_IMMEDIATE_SHUTDOWN_S = 20.0
# Lines of postmaster.pid (PostgreSQL's miscadmin.h).
_PID_LINE, _SOCKET_DIRECTORY_LINE = 0, 4


class Postmaster:
    """A running server and what is known of it."""

    def __init__(self, program: RunningProgram, sockets: Path) -> None:
        self.program = program
        self.sockets = sockets

    @classmethod
    def left_running(cls, data: Path) -> "Postmaster | None":
        """Find the server that a killed launcher left."""
        lock_file = data / "postmaster.pid"
        try:
            lines = lock_file.read_text().splitlines()
            pid = int(lines[_PID_LINE])
            sockets = Path(lines[_SOCKET_DIRECTORY_LINE])
        except (FileNotFoundError, ValueError, IndexError):
            return None
        program = RunningProgram.find(pid, command_contains=f"-D {data} -k")
        return None if program is None else cls(program, sockets)

    @classmethod
    def start(
        cls,
        account: Account,
        binaries: Binaries,
        *,
        data: Path,
        sockets: Path,
        log: Path,
    ) -> "Postmaster":
        _forget_stale_number(data / "postmaster.pid")
        _forget_stale_number(sockets / f"{SOCKET}.lock")
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        output = os.open(log, flags, 0o600)
        try:
            command = (binaries.program("postgres"), "-D", str(data))
            options = ("-k", str(sockets), "-c", "listen_addresses=")
            child = account.spawn([*command, *options], output=output)
        finally:
            os.close(output)
        return cls(RunningProgram.of_child(child), sockets)

    def wait_until_ready(
        self, dsn: str, *, report: Callable[[str], None], interrupted: threading.Event
    ) -> bool:
        """Wait until a login succeeds, however long recovery takes.

        False if the server ends before. Raises PostgresUnusable if the server does not
        take the password, Interrupted if that is asked for.
        """
        for waited in _moments(interrupted):
            try:
                psycopg.connect(dsn, connect_timeout=10).close()
            except psycopg.OperationalError as error:
                said = str(error).strip().splitlines()[-1].strip()
                if "password authentication failed" in said:
                    raise PostgresUnusable(
                        f"the server of {self.sockets} does not take the password kept "
                        "for it: restore the file password, or start anew in another "
                        "directory"
                    ) from error
                if self.program.has_ended():
                    return False
                if waited and waited % _REPORT_EVERY_S < _POLL_S:
                    report(f"waiting for PostgreSQL, {waited:.0f} s: {said}")
            else:
                return True
        raise Interrupted("called off while PostgreSQL was starting")

    def stop(self) -> None:
        """Stop it fast, or at once if that takes too long; raise if it does not end."""
        self.program.send(signal.SIGINT)
        if not self.program.has_ended(within_s=_FAST_SHUTDOWN_S):
            self.program.send(signal.SIGQUIT)
            if not self.program.has_ended(within_s=_IMMEDIATE_SHUTDOWN_S):
                raise PostgresUnusable(
                    f"PostgreSQL (pid {self.program.pid}) does not stop: see why "
                    "in its log before you kill it"
                )
        self.program.close()


def start_again_until_ready(
    start: Callable[[], Postmaster],
    dsn: Callable[[Postmaster], str],
    *,
    log: Path,
    report: Callable[[str], None],
    interrupted: threading.Event,
) -> Postmaster:
    """Start a server and wait for it.

    Programs of a server that was killed end by themselves within moments; until then
    the next one is refused, so that is tried again.
    """
    for waited in _moments(interrupted):
        postmaster = start()
        try:
            ready = postmaster.wait_until_ready(
                dsn(postmaster), report=report, interrupted=interrupted
            )
        except BaseException:
            postmaster.stop()
            raise
        if ready:
            return postmaster
        postmaster.program.close()
        tail = log_tail(log)
        orphans = "shared memory block" in tail and "still in use" in tail
        if not orphans or waited > _ORPHANS_GONE_WITHIN_S:
            raise PostgresUnusable(f"PostgreSQL does not start; {log} ends:\n{tail}")
    raise Interrupted("called off while PostgreSQL was starting")


def _forget_stale_number(lock_file: Path) -> None:
    """Remove a lock file that names no server.

    A server refuses to start while the number in it belongs to a program that runs,
    whichever that is (after a restart of the machine), or to a zombie.
    """
    try:
        pid = int(lock_file.read_text().splitlines()[_PID_LINE])
    except (FileNotFoundError, ValueError, IndexError):
        return
    if "postgres" not in command_line(pid):
        lock_file.unlink(missing_ok=True)


def _moments(interrupted: threading.Event) -> Iterator[float]:
    """Seconds waited so far, again and again until interrupted."""
    waited = 0.0
    while not interrupted.is_set():
        yield waited
        interrupted.wait(_POLL_S)
        waited += _POLL_S
