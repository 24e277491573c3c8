"""A private PostgreSQL for the sandbox, the demo and the tests; production uses a DSN.

It is reached over a Unix socket in a private directory, by password only, and never
over TCP. It outlives a launcher that is killed; the next one takes it over.
"""

import os
import secrets
import shutil
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

import psycopg

from cli.postgres.account import Account, account_for
from cli.postgres.binaries import Binaries, Source, find_binaries
from cli.postgres.postmaster import SOCKET, Postmaster, start_again_until_ready
from cli.postgres.roles import dsn_for, libpq_uri
from cli.sandbox.directory_lock import DirectoryLock
from cli.sandbox.failures import DirectoryUnusable, PostgresUnusable
from cli.sandbox.runtime_directory import remove_socket_directory, socket_directory
from vocabulary.durable import replace_file

VARIABLE = "RISTMIK_POSTGRES"
OLDEST_MAJOR = 15
_SUPERUSER = "postgres"
# fsync stays on: what the ledger calls durable has to be.
_SETTINGS = """
# Set by ristmik; where the sockets are is said on the command line.
max_connections = 200
password_encryption = 'scram-sha-256'
log_timezone = 'UTC'
timezone = 'UTC'
log_line_prefix = '%m [%p] %q%u@%d '
jit = off
"""


class PostgresServer(Protocol):
    """A server on which its user may create databases and roles."""

    def start(self) -> None:
        """Return once a login of the superuser succeeds; raises a Failure."""

    def stop(self) -> None:
        """Return once it has ended, if it is ours; stopping it again does nothing."""

    def interrupt(self) -> None:
        """Call a start off that is under way in another thread."""

    def superuser_dsn(self, database: str = "postgres") -> str: ...


def _silent(_: str) -> None:
    pass


class PrivatePostgres:
    """A server of our own, whose data, sockets, password and log are in `directory`."""

    def __init__(
        self,
        directory: Path,
        *,
        source: Source | None = None,
        report: Callable[[str], None] = _silent,
    ) -> None:
        self._directory = directory.absolute()
        self._source = source
        self._report = report
        self._lock = DirectoryLock(self._directory / "lock")
        self._interrupted = threading.Event()
        self._password = ""
        self._postmaster: Postmaster | None = None

    @property
    def pid(self) -> int:
        return self._running().program.pid

    @property
    def descriptor(self) -> int:
        """Readable once the server has ended."""
        return self._running().program.descriptor

    @property
    def log(self) -> Path:
        return self._directory / "log"

    def require_reach(self, directory: Path) -> None:
        """Raise DirectoryUnusable if its account cannot pass through a directory."""
        account_for(self._data).require_reach(_nearest_existing(directory))

    def start(self) -> None:
        """Start the server, or take over the one that runs.

        Raises DirectoryUnusable or PostgresUnusable; the detail says what to do.
        """
        account = self._prepare_directory()
        self._lock.take()
        try:
            self._postmaster = self._take_over() or self._start(account)
        except BaseException:
            self._lock.release()
            raise

    def stop(self) -> None:
        if self._postmaster is not None:
            self._postmaster.stop()
            remove_socket_directory(self._postmaster.sockets, meant=self._sockets)
            self._postmaster = None
        self._lock.release()

    def stop_left_running(self) -> None:
        """Stop the server that a killed launcher left, if there is one."""
        if not self._data.exists():
            return
        self._lock.take()
        try:
            left = Postmaster.left_running(self._data)
            if left is not None:
                self._report(f"stopping the PostgreSQL (pid {left.program.pid})")
                left.stop()
                remove_socket_directory(left.sockets, meant=self._sockets)
        finally:
            self._lock.release()

    def interrupt(self) -> None:
        self._interrupted.set()

    def superuser_dsn(self, database: str = "postgres") -> str:
        return self._dsn(self._running(), database)

    @property
    def _data(self) -> Path:
        return self._directory / "data"

    @property
    def _sockets(self) -> Path:
        return self._directory / "s"

    def _running(self) -> Postmaster:
        if self._postmaster is None:
            raise RuntimeError("the private PostgreSQL was not started")
        return self._postmaster

    def _dsn(self, postmaster: Postmaster, database: str = "postgres") -> str:
        return libpq_uri(
            database=database,
            user=_SUPERUSER,
            password=self._password,
            host=str(postmaster.sockets),
        )

    def _prepare_directory(self) -> Account:
        account = account_for(self._data)
        account.require_reach(_nearest_existing(self._directory.parent))
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = not any(self._directory.iterdir())
        if fresh and self._directory.stat().st_uid == os.geteuid():
            account.own(self._directory)
        if self._directory.stat().st_uid != account.uid:
            raise DirectoryUnusable(
                f"{self._directory} does not belong to {account.name}, the account "
                "that PostgreSQL runs as, and is not empty: choose another directory"
            )
        account.require_reach(self._directory)
        return account

    def _take_over(self) -> Postmaster | None:
        left = Postmaster.left_running(self._data)
        if left is None:
            return None
        self._password = self._kept_password()
        self._report(f"taking over the PostgreSQL that runs (pid {left.program.pid})")
        ready = left.wait_until_ready(
            self._dsn(left), report=self._report, interrupted=self._interrupted
        )
        if not ready:
            left.program.close()
            return None
        return left

    def _start(self, account: Account) -> Postmaster:
        binaries = find_binaries(
            account, source=self._source, major=self._made_by(), of=self._data
        )
        if not self._data.exists():
            self._report(f"making a database of PostgreSQL {binaries.major}")
            self._initialise(account, binaries)
        self._password = self._kept_password()
        sockets = socket_directory(
            self._sockets,
            longest_name=SOCKET,
            uid=account.uid,
            gid=account.gid,
        )
        return start_again_until_ready(
            partial(
                Postmaster.start,
                account,
                binaries,
                data=self._data,
                sockets=sockets,
                log=self.log,
            ),
            self._dsn,
            log=self.log,
            report=self._report,
            interrupted=self._interrupted,
        )

    def _made_by(self) -> int | None:
        version = self._data / "PG_VERSION"
        return int(version.read_text()) if version.exists() else None

    def _kept_password(self) -> str:
        try:
            return (self._directory / "password").read_text().strip()
        except OSError as error:
            raise PostgresUnusable(
                f"the password of {self._data} is missing: restore the file "
                f"{self._directory / 'password'}, or start anew in another directory"
            ) from error

    def _initialise(self, account: Account, binaries: Binaries) -> None:
        password_file = self._directory / "password"
        replace_file(password_file, secrets.token_urlsafe(24).encode())
        account.own(password_file)
        # Renamed when complete: a directory that was cut off is never started.
        unfinished = self._directory / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        made = account.run(
            [
                binaries.program("initdb"),
                f"--pgdata={unfinished}",
                f"--username={_SUPERUSER}",
                "--auth=scram-sha-256",
                f"--pwfile={password_file}",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--data-checksums",
            ]
        )
        if made.returncode:
            raise PostgresUnusable(f"initdb refused:\n{made.stdout.strip()}")
        with (unfinished / "postgresql.conf").open("a") as settings:
            settings.write(_SETTINGS)
        unfinished.rename(self._data)


def _nearest_existing(directory: Path) -> Path:
    return next(path for path in (directory, *directory.parents) if path.exists())


class GivenPostgres:
    """A server that somebody else runs, given as the DSN of a superuser."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    def start(self) -> None:
        """Raise PostgresUnusable if it cannot be used as a superuser."""
        try:
            with psycopg.connect(self._dsn, connect_timeout=10) as connection:
                version = connection.info.server_version // 10_000
                row = connection.execute("SHOW is_superuser").fetchone()
        except psycopg.Error as error:
            raise PostgresUnusable(
                f"the PostgreSQL that {VARIABLE} names cannot be used: {error}"
            ) from error
        if row != ("on",):
            raise PostgresUnusable(
                f"the role that {VARIABLE} names is no superuser: name one that is"
            )
        if version < OLDEST_MAJOR:
            raise PostgresUnusable(
                f"{VARIABLE} names a PostgreSQL {version}: use {OLDEST_MAJOR} or newer"
            )

    def stop(self) -> None:
        pass

    def interrupt(self) -> None:
        pass

    def superuser_dsn(self, database: str = "postgres") -> str:
        return dsn_for(self._dsn, database=database)


def postgres_for(
    directory: Path, choice: str | None, *, report: Callable[[str], None] = _silent
) -> PrivatePostgres | GivenPostgres:
    """Give the server that RISTMIK_POSTGRES (`choice`) asks for; empty: a private one.

    Raises PostgresUnusable for a choice that is none.
    """
    if not choice:
        return PrivatePostgres(directory, report=report)
    if choice in set(Source):
        return PrivatePostgres(directory, source=Source(choice), report=report)
    try:
        dsn_for(choice)
    except psycopg.ProgrammingError as error:
        raise PostgresUnusable(
            f"{VARIABLE} is neither embedded, nor system, nor a DSN such as "
            "postgresql://postgres:secret@/postgres?host=/run/postgresql"
        ) from error
    return GivenPostgres(choice)
