"""`ristmik ledger`: verified, watched, kept elsewhere, erased."""

import base64
import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from grpc import StatusCode, aio

from ledger.findings import Code, Mechanism
from tests.end_to_end.calling import Outcome, ask
from tests.end_to_end.instance import Instance


async def call(instance: Instance, tax: aio.Channel) -> Outcome:
    example = instance.example
    outcome = await ask(tax, example.method, example.body, example.metadata())
    assert outcome.code is StatusCode.OK, outcome
    return outcome


def on(instance: Instance, code: str) -> tuple[str, str]:
    return ("--server", instance.server(code).id)


async def test_tail_gives_one_object_a_line(
    instance: Instance, tax: aio.Channel
) -> None:
    outcome = await call(instance, tax)
    ran = instance.ristmik(
        "ledger", "tail", *on(instance, "population"), "-n", "2", "--json"
    )
    assert ran.status == 0
    asked, answered = map(json.loads, ran.out.splitlines())
    assert (asked["kind"], answered["kind"]) == ("REQUEST_RECEIVED", "RESPONSE_SENT")
    assert asked["message_id"] == answered["message_id"] == outcome.message_id
    assert asked["purpose"] == instance.example.keys["purpose"]
    assert answered["status"] == "OK"
    rows = instance.entries("population", outcome.message_id)
    assert [row.row_hash.hex() for row in rows] == [
        asked["row_hash"],
        answered["row_hash"],
    ]


async def test_checkpoint_is_a_signed_note_that_is_served_too(
    instance: Instance, tax: aio.Channel
) -> None:
    await call(instance, tax)
    server = instance.server("tax")
    printed = instance.answer("ledger", "checkpoint", *on(instance, "tax"))
    origin, size, root, empty, signature = printed["note"].splitlines()
    assert origin == f"{server.id}/log"
    assert int(size) == printed["size"] > 0
    assert base64.b64decode(root, validate=True).hex() == printed["root"]
    assert (empty, signature[:2]) == ("", "— ")
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(f"{server.http}/checkpoint", timeout=10) as answer:
        assert answer.read().decode().startswith(f"{origin}\n")


async def test_ledger_is_verified_against_a_checkpoint_kept_elsewhere(
    instance: Instance, tax: aio.Channel, tmp_path: Path
) -> None:
    ran = instance.ristmik("ledger", "checkpoint", *on(instance, "tax"))
    kept = tmp_path / "kept.note"
    kept.write_text(ran.out)
    await call(instance, tax)
    verified = instance.verify("tax", "--against", str(kept))
    assert (verified.status, verified.document["ok"]) == (0, True)
    # Of another server's ledger, and altered: neither is a checkpoint of this one.
    other = instance.verify("health", "--against", str(kept))
    assert (other.status, other.document["error"]["code"]) == (2, "USAGE")
    kept.write_text(ran.out.replace("\n", "\n1", 1))
    altered = instance.verify("tax", "--against", str(kept))
    assert (altered.status, altered.document["error"]["code"]) == (2, "USAGE")


async def test_content_is_erased_and_everything_still_verifies(
    instance: Instance, tax: aio.Channel
) -> None:
    outcome = await call(instance, tax)
    seqs = [row.seq for row in instance.entries("population", outcome.message_id)]
    before = openings(instance, seqs)
    assert before > 0
    heads = [row.head for row in instance.entries("population", outcome.message_id)]
    server = on(instance, "population")
    numbers = [str(seq) for seq in seqs]
    erased = instance.answer("ledger", "erase", *server, *numbers, "--reason", "old")
    assert erased["entries"] == seqs
    assert erased["openings"] > 0
    assert openings(instance, seqs) == before - erased["openings"]
    assert instance.entries("population")[erased["erasure_entry"]].kind == 11
    rows = instance.entries("population", outcome.message_id)
    assert [row.head for row in rows] == heads
    verified = instance.verify("population")
    assert (verified.status, verified.document["ok"]) == (0, True)

    again = instance.ristmik(
        *("ledger", "erase", *server, *numbers, "--reason", "old", "--json")
    )
    assert (again.status, again.document["error"]["code"]) == (1, "ENTRY_UNKNOWN")


async def test_row_that_a_superuser_edits_is_named(
    instance: Instance, tax: aio.Channel
) -> None:
    outcome = await call(instance, tax)
    seq = instance.entries("population", outcome.message_id)[0].seq
    with edited(instance, seq, "STATISTICS"):
        verified = instance.verify("population")
    assert verified.status == 1
    found = verified.document
    assert found["ok"] is False
    assert found["first_bad"]["entry"] == seq
    assert found["first_bad"]["code"] in list(Code)
    assert found["first_bad"]["caught_by"] in list(Mechanism)
    assert instance.verify("population").document["ok"] is True


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE ledger.entry SET purpose = 'STATISTICS'",
        "DELETE FROM ledger.entry",
        "TRUNCATE ledger.entry",
        "DELETE FROM ledger.opening",
        "UPDATE ledger.round SET size = 0",
    ],
)
def test_even_a_superuser_is_refused_while_the_triggers_are_there(
    instance: Instance, change: str
) -> None:
    with (
        psycopg.connect(instance.dsn("tax")) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(change.encode())


def openings(instance: Instance, seqs: list[int]) -> int:
    with psycopg.connect(instance.dsn("population")) as connection:
        row = connection.execute(
            "SELECT count(*) FROM ledger.opening WHERE seq = ANY(%s)", (seqs,)
        ).fetchone()
    assert row is not None
    return int(row[0])


@contextmanager
def edited(instance: Instance, seq: int, purpose: str) -> Iterator[None]:
    """Edit one entry behind the ledger's back, and put it back as it was."""
    with psycopg.connect(instance.dsn("population"), autocommit=True) as connection:
        before = set_purpose(connection, seq, purpose)
        try:
            yield
        finally:
            set_purpose(connection, seq, before)


def set_purpose(connection: psycopg.Connection[Any], seq: int, purpose: str) -> str:
    """Give the purpose there was."""
    row = connection.execute(
        "SELECT tableoid::regclass::text, purpose FROM ledger.entry WHERE seq = %s",
        (seq,),
    ).fetchone()
    assert row is not None
    partition, before = row
    with connection.transaction():
        guard = f"ALTER TABLE {partition} {{}} TRIGGER refuse_update"
        connection.execute(guard.format("DISABLE").encode())
        connection.execute(
            "UPDATE ledger.entry SET purpose = %s WHERE seq = %s", (purpose, seq)
        )
        connection.execute(guard.format("ENABLE ALWAYS").encode())
    return str(before)
