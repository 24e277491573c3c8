"""`ristmik ledger` on a database as a security server leaves it."""

import json
import select
import subprocess
import sys
from datetime import timedelta

import psycopg
import pytest

from ledger.checkpoint import LogKey
from ledger.store import ENTRY_COLUMNS, migrate
from tests.cli.conftest import SERVERS
from tests.cli.fakes import GIVEN_TIME

SERVER = SERVERS[0]
MESSAGE_ID = "0192f0c0-0000-7000-8000-000000000001"
ROLES = {role: f"cli_ledger_{role}" for role in ("writer", "reader", "eraser")}
COLUMNS = {
    **dict.fromkeys(ENTRY_COLUMNS),
    "round": 3,
    "kind": 1,
    "recorded_at": GIVEN_TIME,
    **dict.fromkeys(
        ("local_header", "commitments", "fields_root", "prev", "row_hash"), b"\x01"
    ),
}


class Ledger:
    """A ledger whose entries nobody has linked: they are only to be shown."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn

    def append(self, seq: int, **columns: object) -> None:
        row = COLUMNS | {"seq": seq} | columns
        places = ", ".join(["%s"] * len(row))
        with psycopg.connect(self.dsn) as connection:
            connection.execute(
                f"INSERT INTO ledger.entry ({', '.join(row)}) VALUES ({places})",  # noqa: S608
                list(row.values()),
            )
            connection.execute("UPDATE ledger.head SET seq = %s", (seq + 1,))

    def close_round(self, number: int, size: int) -> bytes:
        note = LogKey.generate(f"{SERVER}/log").sign(size, bytes(32)).note
        with psycopg.connect(self.dsn) as connection:
            connection.execute(
                "INSERT INTO ledger.round VALUES (%s, %s, %s, %s, %s)",
                (number, size, bytes(32), note, GIVEN_TIME + timedelta(seconds=number)),
            )
        return note


@pytest.fixture(scope="module")
def database(postgres) -> str:
    postgres.create_database("cli_ledger")
    for role in ROLES.values():
        postgres.create_role(role)
    return postgres.superuser_dsn("cli_ledger")


@pytest.fixture
def ledger(database, instance) -> Ledger:
    with psycopg.connect(database) as connection:
        # Its rows cannot be deleted, which is the point of it.
        connection.execute("DROP SCHEMA IF EXISTS ledger CASCADE")
    migrate(database, **ROLES)
    instance.describe(dsn=database)
    return Ledger(database)


def test_tail_prints_an_object_a_line(ristmik, ledger) -> None:
    ledger.append(
        0,
        message_id=MESSAGE_ID,
        client="c",
        service="s",
        method="m",
        purpose="p",
        legal_basis="l",
    )
    ledger.append(1, kind=3, fault_code=11, execution=1)
    ledger.append(2, kind=5, status=5)
    ran = ristmik("ledger", "tail", "--server", SERVER, "--json")
    assert ran.status == 0
    first, second, third = map(json.loads, ran.out.splitlines())
    assert first == {
        "entry": 0,
        "round": 3,
        "kind": "REQUEST_SENT",
        "recorded_at": "2026-11-25T07:30:00+00:00",
        "message_id": MESSAGE_ID,
        "client": "c",
        "service": "s",
        "method": "m",
        "purpose": "p",
        "legal_basis": "l",
        "status": None,
        "fault": None,
        "execution": None,
        "row_hash": "01",
    }
    assert (second["fault"], second["execution"]) == ("ACCESS_DENIED", "NOT_EXECUTED")
    assert third["status"] == "NOT_FOUND"


def test_tail_begins_with_the_newest(ristmik, ledger) -> None:
    for seq in range(5):
        ledger.append(seq)
    ran = ristmik("ledger", "tail", "--server", SERVER, "-n", "2", "--json")
    assert [json.loads(line)["entry"] for line in ran.out.splitlines()] == [3, 4]
    readable = ristmik("ledger", "tail", "--server", SERVER, "-n", "1")
    assert "REQUEST_SENT" in readable.out
    assert len(readable.out.splitlines()) == 1


def test_tail_shows_what_somebody_has_spoilt(ristmik, ledger) -> None:
    ledger.append(0, kind=99, fault_code=9999, status=77)
    (line,) = ristmik("ledger", "tail", "--server", SERVER, "--json").out.splitlines()
    assert json.loads(line)["kind"] == "99"
    assert json.loads(line)["status"] == "77"


@pytest.mark.usefixtures("ledger")
def test_tail_of_an_empty_ledger_is_empty(ristmik) -> None:
    ran = ristmik("ledger", "tail", "--server", SERVER)
    assert (ran.status, ran.out) == (0, "")


def test_tail_follows_what_comes(instance, ledger) -> None:
    ledger.append(0)
    command = [sys.executable, "-m", "cli", "ledger", "tail", "--server", SERVER]
    following = subprocess.Popen(  # noqa: S603
        [*command, "--dir", str(instance.directory), "--follow", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with following:
        assert next_line(following)["entry"] == 0
        ledger.append(1)
        assert next_line(following)["entry"] == 1
        following.send_signal(2)
        _, said = following.communicate(timeout=30)
    assert (following.returncode, said) == (130, b"")


def next_line(process: subprocess.Popen) -> dict[str, object]:
    ready, _, _ = select.select([process.stdout], [], [], 30)
    assert ready
    return json.loads(process.stdout.readline())


def test_checkpoint_is_the_newest_note_verbatim(ristmik, ledger) -> None:
    ledger.close_round(0, 1)
    note = ledger.close_round(1, 2)
    ran = ristmik("ledger", "checkpoint", "--server", SERVER)
    assert (ran.status, ran.out.encode()) == (0, note)
    document = ristmik("ledger", "checkpoint", "--server", SERVER, "--json").document
    assert document == {
        "server": SERVER,
        "round": 1,
        "size": 2,
        "root": "00" * 32,
        "closed_at": "2026-11-25T07:30:01+00:00",
        "note": note.decode(),
    }


@pytest.mark.usefixtures("ledger")
def test_no_checkpoint_yet_is_1(ristmik) -> None:
    ran = ristmik("ledger", "checkpoint", "--server", SERVER, "--json")
    assert (ran.status, ran.document["error"]["code"]) == (1, "CHECKPOINT_MISSING")


@pytest.mark.parametrize("command", ["tail", "checkpoint"])
def test_database_that_is_down_is_3(ristmik, command) -> None:
    ran = ristmik("ledger", command, "--server", SERVER, "--json")
    assert ran.status == 3
    assert "ristmik up" in ran.document["error"]["detail"]


def test_entries_are_erased_by_their_server(ristmik, instance) -> None:
    ran = ristmik(
        *("ledger", "erase", "--server", SERVER, "4", "5"),
        *("--reason", "retention has ended", "--json"),
    )
    assert ran.document == {
        "server": SERVER,
        "entries": [4, 5],
        "erasure_entry": 99,
        "openings": 5,
    }
    (erased,) = instance.administrations[0].erased
    assert list(erased.entries) == [4, 5]
    assert erased.reason == "retention has ended"


def test_ledger_that_cannot_commit_an_erasure_is_3(ristmik) -> None:
    ran = ristmik(
        *("ledger", "erase", "--server", SERVER, "404", "--reason", "r", "--json")
    )
    assert (ran.status, ran.document["error"]["code"]) == (3, "LEDGER_UNAVAILABLE")
