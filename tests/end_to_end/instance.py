"""A sandbox instance as its users meet it: started by `ristmik up`, asked from outside.

Parts are named as their settings files are: "central-registry", "trust-services",
"security-server-tax", "population-system", and so on; a server also by its code: "tax".
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from grpc import aio
from psycopg.rows import namedtuple_row

from tests.end_to_end.calling import OPTIONS, Example
from tests.end_to_end.waiting import until

ROOT = Path(__file__).parents[2]
RISTMIK = (sys.executable, "-m", "cli")
ENDS_WITHIN_S = 120
CODES = ("tax", "population", "health")
_PLACES = ("id", "member", "local", "peer", "http", "admin")


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on its standard output."""
        (line,) = self.out.splitlines()
        document = json.loads(line)
        assert isinstance(document, dict)
        return document


@dataclass(frozen=True)
class Server:
    """One security server, as the document of `up --json` describes it."""

    code: str
    # Of a superuser.
    dsn: str
    id: str
    member: str
    local: str
    peer: str
    http: str
    admin: str

    @property
    def program(self) -> str:
        return f"security-server-{self.code}"


class Instance:
    """`ristmik up` of one directory; a test may kill and start its programs."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.directory = directory
        self._said = directory.with_name("said")
        self._options = options
        self._started: dict[str, subprocess.Popen[bytes]] = {}
        self._commands: dict[str, Sequence[str]] = {}
        self._postgres: subprocess.Popen[bytes] | None = None
        self.up = self._up()

    def _up(self) -> subprocess.Popen[str]:
        command = [*RISTMIK, "up", "--dir", str(self.directory), "--json"]
        with self._said.open("ab") as stderr:
            return subprocess.Popen(  # noqa: S603 - this test's own program
                [*command, *self._options],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )

    def until_ready(self) -> "Instance":
        assert self.up.stdout is not None
        line = self.up.stdout.readline()
        assert line, self.said()
        self.document: dict[str, Any] = json.loads(line)
        assert "error" not in self.document, self.document
        self.example = Example.of(self.document)
        self.servers = {
            code: Server(code, part["database_dsn"], *(part[key] for key in _PLACES))
            for code, part in zip(CODES, self.document["servers"], strict=True)
        }
        return self

    def said(self) -> str:
        """What `up` said on standard error, all starts together."""
        return self._said.read_text()

    # Its parts.

    def server(self, code: str) -> Server:
        return self.servers[code]

    def dsn(self, code: str) -> str:
        return self.servers[code].dsn

    def local(self, code: str) -> aio.Channel:
        """Open a channel to the local leg of a server, to be closed by who asked."""
        return aio.insecure_channel(self.servers[code].local, OPTIONS)

    # The command line.

    def ristmik(self, *arguments: str, timeout_s: float = 60) -> Ran:
        ended = subprocess.run(  # noqa: S603 - this test's own program
            [*RISTMIK, *arguments],
            cwd=ROOT,
            env=os.environ | {"RISTMIK_DIR": str(self.directory), "COLUMNS": "80"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return Ran(ended.returncode, ended.stdout, ended.stderr)

    def answer(self, *arguments: str) -> dict[str, Any]:
        """Run a command that must succeed, and give its document."""
        ran = self.ristmik(*arguments, "--json")
        assert ran.status == 0, (arguments, ran)
        return ran.document

    def call(self, *options: str, **changed: str | None) -> Ran:
        """Make the example's call by `ristmik call --json`, changed as told.

        Keys are those of the document's example; None leaves an option out.
        """
        asked = dict(self.document["example"]) | changed
        method, text = asked.pop("method"), asked.pop("json")
        given = [
            word
            for key, value in asked.items()
            if value is not None
            for word in (f"--{key.replace('_', '-')}", value)
        ]
        return self.ristmik("call", "--json", *given, *options, method, text)

    def verify(self, code: str, *options: str) -> Ran:
        return self.ristmik(
            *("ledger", "verify", "--json", "--server", self.servers[code].id),
            *options,
        )

    # The ledgers, as a superuser reads them.

    def entries(self, code: str, message_id: str | None = None) -> list[Any]:
        """Give the rows of ledger.entry, of one message or all, in their order."""
        where = "" if message_id is None else " WHERE message_id = %s"
        given = () if message_id is None else (message_id,)
        query = f"SELECT * FROM ledger.entry{where} ORDER BY seq"  # noqa: S608 - two constants
        with psycopg.connect(self.dsn(code), row_factory=namedtuple_row) as connection:
            return connection.execute(query.encode(), given).fetchall()

    def count(self, code: str) -> int:
        """Count the entries of a server's ledger."""
        with psycopg.connect(self.dsn(code)) as connection:
            row = connection.execute("SELECT count(*) FROM ledger.entry").fetchone()
        assert row is not None
        return int(row[0])

    # Its programs.

    def pids(self) -> Mapping[str, int]:
        """The programs that `up` started, by name."""
        document = self.document
        names = (
            *(f"{code}-system" for code in CODES[1:]),
            *(server.program for server in self.servers.values()),
            *("central-registry", "trust-services"),
        )
        parts = (
            *(*document["systems"], *document["servers"]),
            *(document["registry"], document["trust"]),
        )
        pids = {name: part["pid"] for name, part in zip(names, parts, strict=True)}
        return pids | {name: child.pid for name, child in self._started.items()}

    def postgres_pid(self) -> int:
        text = (self.directory / "postgres/data/postmaster.pid").read_text()
        return int(text.splitlines()[0])

    def end(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """Have a program ended, and wait until it is; for `up --keep-going`."""
        pid = self.pids()[name]
        self._commands.setdefault(name, command_of(pid))
        child = self._started.pop(name, None)
        os.kill(pid, number)
        if child is not None:
            child.wait(ENDS_WITHIN_S)
        else:
            until(lambda: not is_running(pid), f"{name} has ended")

    def start(self, name: str) -> None:
        """Start a program that `end` has ended; who calls waits until it is ready."""
        log = self.directory / "logs" / f"{name}.log"
        with log.open("ab") as output:
            self._started[name] = subprocess.Popen(  # noqa: S603 - as `up` started it
                self._commands[name],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                umask=0o077,
                start_new_session=True,
            )

    # Its PostgreSQL.

    @contextmanager
    def frozen_postgres(self) -> Iterator[None]:
        """Stop every process of PostgreSQL where it is, and let them go on."""
        postmaster = self.postgres_pid()
        os.kill(postmaster, signal.SIGSTOP)
        frozen = [postmaster, *children_of(postmaster)]
        for pid in frozen[1:]:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in reversed(frozen):
                os.kill(pid, signal.SIGCONT)

    @contextmanager
    def without_postgres(self) -> Iterator[None]:
        """Shut PostgreSQL down, and start it again; for `up --keep-going`."""
        pid = self.postgres_pid()
        command, account = command_of(pid), Path(f"/proc/{pid}").stat()
        os.kill(pid, signal.SIGINT)
        until(lambda: not is_running(pid), "PostgreSQL has shut down")
        try:
            yield
        finally:
            privileged = os.geteuid() == 0
            with (self.directory / "logs" / "postgres-again.log").open("ab") as log:
                self._postgres = subprocess.Popen(  # noqa: S603 - as it was started
                    command,
                    cwd="/",
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    user=account.st_uid if privileged else None,
                    group=account.st_gid if privileged else None,
                    extra_groups=[] if privileged else None,
                    umask=0o077,
                    start_new_session=True,
                )

    # The whole.

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Stop all; give the exit status of `up`."""
        running: list[subprocess.Popen[Any]] = [*self._started.values(), self.up]
        for child in running:
            if child.poll() is None:
                child.send_signal(number)
        for child in self._started.values():
            child.wait(ENDS_WITHIN_S)
        status = self.up.wait(ENDS_WITHIN_S)
        self._end_postgres()
        assert self.up.stdout is not None
        assert self.up.stdout.read() == "", "the document is all that `up` prints"
        self.up.stdout.close()
        return status

    def up_again(self, *options: str) -> "Instance":
        """Start it anew once it has ended, and wait until it is ready."""
        assert self.up.poll() is not None, "it is still running"
        assert self.up.stdout is not None
        self.up.stdout.close()
        self._options = options
        self.up = self._up()
        self.until_ready()
        # It has stopped what it found running, and started its own.
        for child in self._started.values():
            child.wait(ENDS_WITHIN_S)
        self._started.clear()
        return self

    def close(self) -> None:
        """Leave nothing running, whatever state a failed test left it in."""
        for child in self._started.values():
            child.kill()
            child.wait()
        if self.up.poll() is None:
            self.up.kill()
            self.up.wait()
        assert self.up.stdout is not None
        self.up.stdout.close()
        self.ristmik("down", timeout_s=ENDS_WITHIN_S)
        self._end_postgres()

    def _end_postgres(self) -> None:
        """End the PostgreSQL that a test has started, unless `up` has."""
        if self._postgres is not None:
            self._postgres.send_signal(signal.SIGINT)
            self._postgres.wait(ENDS_WITHIN_S)


@contextmanager
def new_instance(*options: str) -> Iterator[Instance]:
    """Start an instance in a directory of its own; `options` are those of `up`."""
    # Not tmp_path, which under root is closed to the account PostgreSQL runs as.
    outer = Path(tempfile.mkdtemp(prefix="ristmik-e2e-"))
    outer.chmod(0o711)
    instance = Instance(outer / "instance", *options)
    try:
        yield instance.until_ready()
    finally:
        instance.close()
        shutil.rmtree(outer)


def command_of(pid: int) -> list[str]:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return [word.decode() for word in words[:-1]]


def children_of(pid: int) -> list[int]:
    """Find the processes whose parent this is."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            words = stat.read_text().rpartition(")")[2].split()
            if int(words[1]) == pid:
                found.append(int(stat.parent.name))
    return found


def is_running(pid: int) -> bool:
    """Whether a program runs; one that has ended and is not buried yet does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}
