"""An instance as its operator lives with it: real programs, started by `ristmik up`."""

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cli.postgres.private import VARIABLE
from cli.sandbox.directory import InstanceDirectory
from cli.sandbox.processes import find_by_command
from cli.sandbox.programs import SandboxPrograms
from tests.databases import Databases

ENDS_WITHIN_S = 120
RISTMIK = (sys.executable, "-m", "cli")


class Running:
    """`ristmik up`, and what it said."""

    def __init__(self, directory: Path, log: Path, **environment: str) -> None:
        self.directory = directory
        self._log = log
        command = [*RISTMIK, "up", "--dir", str(directory), "--json"]
        with log.open("ab") as stderr:
            self.up = subprocess.Popen(  # noqa: S603 - this test's own program
                command,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=os.environ | environment,
            )

    def document(self) -> dict[str, Any]:
        assert self.up.stdout is not None
        line = self.up.stdout.readline()
        assert line, self.said()
        document = json.loads(line)
        assert isinstance(document, dict)
        return document

    def said(self) -> str:
        return self._log.read_text()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.up.send_signal(number)
        return self.end()

    def end(self) -> int:
        return self.up.wait(ENDS_WITHIN_S)

    def close(self) -> None:
        if self.up.poll() is None:
            self.up.kill()
            self.up.wait()
        assert self.up.stdout is not None
        self.up.stdout.close()


Start = Callable[..., Running]


@pytest.fixture
def place() -> Iterator[Path]:
    """Give a directory for an instance, deep enough to matter for sockets."""
    # Not tmp_path, which under root is closed to the account PostgreSQL runs as.
    outer = Path(tempfile.mkdtemp(prefix="ristmik-up-"))
    outer.chmod(0o711)
    yield outer / ("deep" * 15)
    shutil.rmtree(outer)


@pytest.fixture
def start(place: Path) -> Iterator[Start]:
    started: list[Running] = []

    def up(**environment: str) -> Running:
        log = place.with_name("stderr")
        started.append(Running(place, log, **environment))
        return started[-1]

    yield up
    for running in started:
        running.close()
    if running_programs(place):
        ristmik("down", "--dir", str(place))


def ristmik(*arguments: str) -> tuple[int, str]:
    ended = subprocess.run(  # noqa: S603 - this test's own program
        [*RISTMIK, *arguments], capture_output=True, text=True, check=False
    )
    return ended.returncode, ended.stdout


def call(document: dict[str, Any], **changed: str) -> tuple[int, dict[str, Any]]:
    example = document["example"] | changed
    status, answer = ristmik(
        *("call", "--dir", document["dir"], "--json"),
        *("--client", example["client"], "--service", example["service"]),
        *("--subject", example["subject"], "--purpose", example["purpose"]),
        *("--legal-basis", example["legal_basis"]),
        *(example["method"], example["json"]),
    )
    return status, json.loads(answer)


def entries(document: dict[str, Any]) -> int:
    total = 0
    for server in document["servers"]:
        with psycopg.connect(server["database_dsn"]) as connection:
            row = connection.execute("SELECT count(*) FROM ledger.entry").fetchone()
            assert row is not None
            total += row[0]
    return total


def running_programs(directory: Path) -> list[str]:
    place = InstanceDirectory(directory)
    choices = place.load_choices() if place.exists() else None
    if choices is None:
        return []
    programs = SandboxPrograms(place, choices, place.path / "s").all()
    return [each.name for each in programs if list(find_by_command(each.command))]


def test_the_life_of_an_instance(start: Start, place: Path) -> None:
    first = start()
    document = first.document()
    assert document["dir"] == str(place)
    assert json.loads((place / "instance.json").read_text()) == document
    assert [server["id"].split("/")[2] for server in document["servers"]] == [
        "70000349",
        "70008440",
        "74000091",
    ]
    status, answer = call(document)
    assert (status, answer["status"]) == (0, "OK"), answer
    assert answer["response"]["family_name"]
    status, answer = call(
        document,
        service="EE-SANDBOX/GOV/74000091/health/insurance/v1",
        method="health.v1.InsuranceRegistry/GetInsurance",
    )
    assert (status, answer["fault"]["code"]) == (1, "ACCESS_DENIED")
    recorded = entries(document)
    assert recorded > 0

    # A second one is refused while the first is at work.
    assert start().end() == 3

    # A supervisor that is killed leaves everything running; the next one takes over.
    first.up.kill()
    first.end()
    assert running_programs(place)
    second = start()
    again = second.document()
    assert without_pids(again) == without_pids(document)
    assert entries(again) >= recorded
    assert call(again)[0] == 0

    # One that dies is named, and ends all.
    os.kill(again["servers"][1]["pid"], signal.SIGKILL)
    assert second.end() == 1
    assert "security-server-population ended by signal SIGKILL" in second.said()
    assert not running_programs(place)

    with listening(document["registry"]["address"]):
        refused = start()
        assert refused.end() == 1
        assert "on which central-registry of this instance listens" in refused.said()

    third = start()
    assert without_pids(third.document()) == without_pids(document)
    assert call(document)[0] == 0
    assert ristmik("down", "--dir", str(place)) == (
        0,
        f"the instance in {place} is stopped\n",
    )
    assert third.end() == 0
    assert not running_programs(place)
    assert ristmik("down", "--dir", str(place))[0] == 0
    sockets = document["registry"]["admin"].removeprefix("unix:")
    assert not Path(sockets).parent.exists()


def listening(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_server((host, int(port)))


def without_pids(document: dict[str, Any]) -> dict[str, Any]:
    def stripped(part: Any) -> Any:
        match part:
            case dict():
                return {k: stripped(v) for k, v in part.items() if k != "pid"}
            case list():
                return list(map(stripped, part))
            case _:
                return part

    return stripped(document)


def test_a_start_that_was_cut_off_anywhere_is_taken_up(start: Start) -> None:
    for said in ("making a database", "are ready", "are registered"):
        cut = start()
        while said not in cut.said():
            assert cut.up.poll() is None, cut.said()
        cut.up.kill()
        cut.end()
        assert cut.up.stdout is not None
        assert not cut.up.stdout.read()
    running = start()
    assert call(running.document())[0] == 0
    assert running.stop(signal.SIGINT) == 0


def test_a_start_can_be_called_off(start: Start, place: Path) -> None:
    running = start()
    while "making a database" not in running.said():
        assert running.up.poll() is None, running.said()
    assert running.stop(signal.SIGTERM) == 130
    assert not running_programs(place)


def test_on_a_postgresql_that_others_share(
    start: Start, postgres: Databases, place: Path
) -> None:
    dsn = postgres.superuser_dsn()
    running = start(**{VARIABLE: dsn})
    document = running.document()
    assert document["postgres"]["superuser_dsn"] == dsn
    assert call(document)[0] == 0
    assert running.stop() == 0
    # Another PostgreSQL does not have its data.
    if os.environ.get(VARIABLE, "") in ("", "system", "embedded"):
        elsewhere = start(**{VARIABLE: ""})
        assert elsewhere.end() == 3
        assert "made on another PostgreSQL" in elsewhere.said()
    for server in (document["registry"], document["trust"], *document["servers"]):
        name = psycopg.conninfo.conninfo_to_dict(server["database_dsn"])["dbname"]
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def test_a_directory_with_other_things_in_it_is_refused(
    start: Start, place: Path
) -> None:
    place.mkdir()
    (place / "notes.txt").write_text("mine")
    refused = start()
    assert refused.end() == 3
    assert "holds other things" in refused.said()
    assert [path.name for path in place.iterdir()] == ["notes.txt"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can drop to an account")
def test_a_directory_that_postgresql_cannot_reach_is_refused(
    start: Start, place: Path
) -> None:
    place.parent.chmod(0o700)
    refused = start(**{VARIABLE: ""})
    assert refused.end() == 3
    assert f"chmod o+x {place.parent}" in refused.said()
    assert not place.exists()
    assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
