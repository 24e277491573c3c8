"""The demo's last chapters: what is refused, what is caught, what can be forgotten."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from cli.commands.call import Outcome
from cli.commands.ledger import entry_document
from cli.connection import administration, ask
from cli.demo.stage import Stage
from cli.parts import ServerPart
from ledger.entry import LinkedEntry
from ledger.record import Kind
from ledger.verification import Verification
from protos.v1.administration_pb2 import EraseEntriesRequest
from vocabulary.faults import AccessDenied, Execution, Fault, SubjectMismatch

ANOTHER_PERSON = "PNOEE-38001085718"
YET_ANOTHER_PERSON = "PNOEE-60001019906"


def without_the_right(stage: Stage) -> None:
    """The same call, without the right, is refused and recorded."""
    tell, example = stage.narration, stage.example
    tell.begin("The same call, without the right")
    tell.command(f"access revoke {example.service} {example.client}")
    stage.revoke_all()

    def refused() -> Outcome | None:
        outcome = stage.call()
        return None if outcome.status == "OK" else outcome

    # A right ends within two seconds.
    outcome = stage.until("the call is refused once the right is gone", refused)
    _claim_refusal(stage, outcome, AccessDenied)


def wrong_person(stage: Stage) -> None:
    """A call that declares another person than it asks about is refused."""
    tell, example = stage.narration, stage.example
    other = next(
        person
        for person in (ANOTHER_PERSON, YET_ANOTHER_PERSON)
        if person != example.subject
    )
    tell.begin("The wrong person")
    tell.say(
        f"The caller has the right again, declares {other}, and asks about"
        f" {example.subject}."
    )
    stage.grant("")

    def refused() -> Outcome | None:
        outcome = stage.call(subject=other)
        denied = outcome.fault is not None and outcome.fault.code == AccessDenied.code
        return None if denied else outcome

    outcome = stage.until("the right is in force again", refused)
    _claim_refusal(stage, outcome, SubjectMismatch)


def _claim_refusal(stage: Stage, outcome: Outcome, expected: type[Fault]) -> None:
    tell, fault = stage.narration, outcome.fault
    if fault is not None:
        tell.show(f"{fault.origin} refuses", f"{fault.code}: {fault.detail}")
    tell.claim(
        f"refused with {expected.code} by {stage.provider.id}",
        fault is not None
        and fault.code == expected.code
        and fault.origin == stage.provider.id,
    )
    tell.claim(
        "the provider's system was not called: execution is NOT_EXECUTED",
        fault is not None and fault.execution is Execution.NOT_EXECUTED,
    )
    entries = stage.entries(stage.provider, outcome.message_id or "")
    documents = [entry_document(entry) for entry in entries]
    tell.rows(
        ["Ledger", "Entry", "Kind", "Fault"],
        [
            (
                stage.name(stage.provider),
                str(found["entry"]),
                str(found["kind"]),
                str(found["fault"] or ""),
            )
            for found in documents
        ],
    )
    tell.claim(
        "the refused attempt is recorded",
        [
            found
            for found in documents
            if (found["kind"], found["fault"])
            == (Kind.REQUEST_REFUSED.name, expected.code)
        ],
    )


def edited_row(stage: Stage) -> None:
    """A superuser edits a row, and verification names it."""
    tell, server = stage.narration, stage.provider
    tell.begin("Somebody edits the ledger")
    entry = _received(stage)
    tell.say(
        f"A superuser of the database of {server.id} wants another name in entry"
        f" {entry.seq}: in the signed head, and in the column for queries."
    )
    with psycopg.connect(server.database_dsn, autocommit=True) as superuser:
        try:
            _forge(superuser, entry, stage.example.client.code)
        except psycopg.errors.InsufficientPrivilege as error:
            refused: str | None = str(error).splitlines()[0]
        else:
            refused = None
        tell.claim(f"PostgreSQL refuses, even to a superuser: {refused}", refused)
        tell.say("\nSo the triggers are switched off first.")
        with _edited(superuser, entry, stage.example.client.code):
            verdict = _verify(stage, server)
        bad = verdict.first_bad
        tell.claim(
            f"verification names entry {entry.seq}"
            + (f": {bad.code}, caught by {bad.caught_by}" if bad else ""),
            bad is not None and bad.entry == entry.seq,
        )
    tell.say("\nThe row is put back as it was.")
    tell.claim("the ledger verifies again", _verify(stage, server).ok)


def _forge(superuser: "psycopg.Connection[Any]", entry: LinkedEntry, code: str) -> None:
    forged = "x" * len(code)
    head = (entry.head or b"").replace(code.encode(), forged.encode())
    client = (entry.columns.client or "").replace(code, forged)
    _write(superuser, entry.seq, head, client)


def _write(
    superuser: "psycopg.Connection[Any]", seq: int, head: bytes, client: str
) -> None:
    superuser.execute(
        "UPDATE ledger.entry SET head = %s, client = %s WHERE seq = %s",
        (head, client, seq),
    )


@contextmanager
def _edited(
    superuser: "psycopg.Connection[Any]", entry: LinkedEntry, code: str
) -> Iterator[None]:
    """Forge an entry with its triggers off; put everything back, whatever happens."""
    with _without_triggers(superuser, entry.seq):
        _forge(superuser, entry, code)
    try:
        yield
    finally:
        with _without_triggers(superuser, entry.seq):
            _write(superuser, entry.seq, entry.head or b"", entry.columns.client or "")


@contextmanager
def _without_triggers(superuser: "psycopg.Connection[Any]", seq: int) -> Iterator[None]:
    with superuser.transaction():
        row = superuser.execute(
            "SELECT c.relname FROM ledger.entry AS e"
            " JOIN pg_class AS c ON c.oid = e.tableoid WHERE e.seq = %s",
            (seq,),
        ).fetchone()
        partition = sql.Identifier("ledger", str(row[0]) if row else "")
        alter = sql.SQL("ALTER TABLE {} {} TRIGGER refuse_update")
        superuser.execute(alter.format(partition, sql.SQL("DISABLE")))
        yield
        superuser.execute(alter.format(partition, sql.SQL("ENABLE ALWAYS")))


def forgotten(stage: Stage) -> None:
    """Content is erased, and everything still verifies."""
    tell = stage.narration
    tell.begin("Forgotten, and still proved")
    for server in (stage.consumer, stage.provider):
        _erase(stage, server)
    tell.say("\nAll ledgers are verified, against the checkpoints kept elsewhere too.")
    for server in stage.parts.servers:
        verdict = _verify(stage, server)
        tell.claim(
            f"{server.id}: {verdict.entries} entries verify, rounds closed:"
            f" {verdict.rounds}",
            verdict.ok,
        )


def _erase(stage: Stage, server: ServerPart) -> None:
    tell = stage.narration
    entries = [entry.seq for entry in stage.entries(server, stage.message_id)]
    numbers = " ".join(map(str, entries))
    tell.command(f"ledger erase --server {server.id} {numbers} --reason …")
    request = EraseEntriesRequest(entries=entries, reason="the demo has shown them")
    with administration(server) as stub:
        answer = ask(stub.EraseEntries, request, of=str(server.id))
    with stage.ledger(server) as reader:
        left = [opening for seq in entries for opening in reader.openings(seq)]
    tell.claim(
        f"{answer.openings} values of entries {numbers} are gone from {server.id};"
        f" entry {answer.erasure_entry} says so",
        answer.openings > 0 and not left,
    )
    stage.until(
        f"{server.id} closes a round over entry {answer.erasure_entry}",
        lambda: _covered(stage, server, answer.erasure_entry),
    )
    tell.claim(
        "who called what, when and why still stands there, signed",
        all(entry.head for entry in stage.entries(server, stage.message_id)),
    )


def _covered(stage: Stage, server: ServerPart, entry: int) -> bool | None:
    """Give True once a checkpoint covers the entry."""
    with stage.ledger(server) as reader:
        newest = reader.newest_round()
    return True if newest is not None and newest.size > entry else None


def _received(stage: Stage) -> LinkedEntry:
    (entry,) = (
        entry
        for entry in stage.entries(stage.provider, stage.message_id)
        if entry.columns.kind == Kind.REQUEST_RECEIVED
    )
    return entry


def _verify(stage: Stage, server: ServerPart) -> Verification:
    kept = stage.kept_checkpoint(server)
    against = kept if kept.exists() else None
    option = f" --against {kept.name}" if against else ""
    stage.narration.command(f"ledger verify --server {server.id}{option}")
    return stage.verify(server, against=against)
