"""The failure table: each durable step failed, or failed and persisted all the same.

After each the ledger goes on by itself, everything acknowledged is there once, and the
whole of it verifies.
"""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from cli.postgres.private import VARIABLE, PrivatePostgres, postgres_for
from ledger import commit
from ledger import sequencer as sequencer_module
from ledger import writer as writer_module
from ledger.findings import Code, LedgerBroken
from ledger.record import Appended, LedgerRecord
from ledger.sequencer import Sequencer
from tests.databases import Databases
from tests.ledger.faults import Faults
from tests.ledger.world import WRITER, LedgerWorld, eventually, once, request
from vocabulary.faults import LedgerUnavailable

# A batch of a few is one statement, a larger one several and a commit.
FEW_STEPS = ("WITH moved",)
STEPS = (
    "UPDATE ledger.head",
    "COPY ledger.entry",
    "COPY ledger.opening",
    "COPY ledger.subject_index",
    "commit",
)
ROUND_STEPS = ("UPDATE ledger.head", "INSERT INTO ledger.round", "commit")


async def until_available(sequencer: Sequencer) -> None:
    await eventually(lambda: sequencer.unavailable is None)


@pytest.fixture
def faults(world: LedgerWorld) -> Faults:
    return Faults(world.dsn(WRITER))


@pytest.mark.parametrize("persisted", [False, True], ids=["failed", "persisted"])
@pytest.mark.parametrize("step", [*FEW_STEPS, *STEPS])
async def test_an_append_that_fails(
    world: LedgerWorld,
    faults: Faults,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    *,
    persisted: bool,
) -> None:
    if step in STEPS:
        monkeypatch.setattr(commit, "FEW", 0)
    sequencer = await world.started(connect=faults.connect)
    await sequencer.append(request(1, once=once(1)))
    faults.arm(step, persisted=persisted)
    record, other = request(2, once=once(2)), request(3)
    outcomes = await asyncio.gather(
        sequencer.append(record), sequencer.append(other), return_exceptions=True
    )
    # They may have gone in two batches, of which the first failed.
    assert isinstance(outcomes[0], LedgerUnavailable)
    await until_available(sequencer)
    assert (await sequencer.append(record)).seq in {1, 2}
    assert (await sequencer.append(other)).seq in {1, 2}
    assert (await sequencer.append(request(4))).seq == 3
    await sequencer.close_round()
    world.require_sound(entries=4)


@pytest.mark.parametrize("persisted", [False, True], ids=["failed", "persisted"])
@pytest.mark.parametrize("step", ROUND_STEPS)
async def test_a_round_whose_closing_fails(
    world: LedgerWorld, faults: Faults, step: str, *, persisted: bool
) -> None:
    sequencer = await world.started(connect=faults.connect)
    await sequencer.append(request(1))
    faults.arm(step, persisted=persisted)
    with pytest.raises(LedgerUnavailable):
        await sequencer.close_round()
    await until_available(sequencer)
    await sequencer.append(request(2))
    closed = await sequencer.close_round()
    assert closed.round == (1 if step == "commit" and persisted else 0)
    assert closed == sequencer.newest_checkpoint
    world.require_sound(entries=2)


async def test_evidence_that_was_not_kept_is_not_said_to_be(
    world: LedgerWorld, faults: Faults
) -> None:
    sequencer = await world.started(connect=faults.connect)
    faults.arm("INSERT INTO ledger.evidence")
    with pytest.raises(LedgerUnavailable):
        await sequencer.put_evidence([b"new"])
    await until_available(sequencer)
    await sequencer.put_evidence([b"new"])
    world.require_sound(entries=0)


async def test_a_month_without_a_durable_key_records_nobody(
    world: LedgerWorld, sequencer: Sequencer
) -> None:
    directory = world.directory / "subject-keys"
    directory.write_text("in the way of the directory")
    with pytest.raises(LedgerUnavailable):
        await sequencer.append(request(1))
    directory.unlink()
    await until_available(sequencer)
    await sequencer.append(request(1))
    world.require_sound(entries=1)


async def test_recovery_that_fails_is_tried_again(
    world: LedgerWorld, faults: Faults
) -> None:
    sequencer = await world.started(connect=faults.connect)
    faults.arm("WITH moved")
    for persisted in (False, True):
        faults.arm("UPDATE ledger.head SET epoch", persisted=persisted)
    with pytest.raises(LedgerUnavailable):
        await sequencer.append(request(1))
    await eventually(lambda: not faults.armed)
    await until_available(sequencer)
    await sequencer.append(request(2))
    world.require_sound(entries=1)


async def test_who_waits_too_long_is_told_and_asks_again(
    world: LedgerWorld, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequencer_module, "ANSWER_S", 0.1)
    sequencer = await world.started(connect=faults.connect)
    faults.arm("WITH moved", pause=True)
    record = request(1)
    with pytest.raises(LedgerUnavailable, match="has not answered"):
        await sequencer.append(record)
    with pytest.raises(LedgerUnavailable, match="has not answered"):
        await sequencer.append(request(2))
    faults.go_on.set()
    await until_available(sequencer)
    assert (await sequencer.append(record)).seq == 0
    assert (await sequencer.append(request(3))).seq == 1
    world.require_sound(entries=2)


@pytest.mark.parametrize("few", [0, 16], ids=["by copy", "in one statement"])
async def test_a_writer_that_was_superseded_stops(
    world: LedgerWorld, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(commit, "FEW", few)
    old = await world.started()
    await old.append(request(1))
    new = await world.started()
    outcomes = await asyncio.gather(
        old.append(request(2)), old.close_round(), return_exceptions=True
    )
    for outcome in outcomes:
        assert isinstance(outcome, LedgerUnavailable)
        assert "another writer has taken this ledger over" in outcome.detail
    with pytest.raises(LedgerUnavailable, match="another writer"):
        await old.append(request(3))
    assert old.unavailable is not None
    assert (await new.append(request(4))).seq == 1
    world.require_sound(entries=2)


@pytest.mark.parametrize(
    ("step", "persisted"),
    [
        ("WITH moved", False),
        ("UPDATE ledger.head", False),
        ("UPDATE ledger.head", True),
    ],
    ids=["before-few", "before", "after"],
)
async def test_a_writer_that_was_paused_cannot_append_after_the_next(
    world: LedgerWorld,
    faults: Faults,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    *,
    persisted: bool,
) -> None:
    monkeypatch.setattr(commit, "FEW", 0 if step in STEPS else 16)
    session = writer_module._SESSION.replace("5s", "200ms")
    monkeypatch.setattr(writer_module, "_SESSION", session)
    old = await world.started(connect=faults.connect)
    # Before or after it has taken the head row.
    faults.arm(step, persisted=persisted, pause=True)
    late = asyncio.create_task(old.append(request(1)))
    await asyncio.to_thread(faults.reached.wait)
    new = await world.started()
    assert (await new.append(request(2))).seq == 0
    faults.go_on.set()
    with pytest.raises(LedgerUnavailable):
        await late
    await eventually(lambda: "another writer" in (old.unavailable or ""))
    assert (await new.append(request(3))).seq == 1
    world.require_sound(entries=2)


async def test_two_writers_race_for_one_ledger(world: LedgerWorld) -> None:
    one, other = world.sequencer(), world.sequencer()
    await asyncio.gather(one.start(), other.start())
    outcomes = await asyncio.gather(
        *(
            each.append(request(n, evidence=False))
            for each in (one, other)
            for n in (1, 2)
        ),
        return_exceptions=True,
    )
    appended = [each for each in outcomes if isinstance(each, Appended)]
    assert sorted(each.seq for each in appended) == list(range(len(appended)))
    assert len(appended) == 2
    world.require_sound(entries=2)


async def test_a_ledger_that_was_changed_is_not_appended_to(
    world: LedgerWorld, sequencer: Sequencer
) -> None:
    for number in range(3):
        await sequencer.append(request(number))
    await sequencer.close_round()
    await sequencer.append(request(3))
    await sequencer.stop()
    with world.superuser() as connection:
        connection.execute("ALTER TABLE ledger.entry_000000 DISABLE TRIGGER ALL")
        connection.execute("UPDATE ledger.entry SET client = 'x/y/z/a' WHERE seq = 1")
    with pytest.raises(LedgerBroken) as refused:
        await world.sequencer().start()
    assert (refused.value.finding.entry, refused.value.finding.code) == (
        1,
        Code.COLUMN_MISMATCH,
    )


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("DELETE FROM ledger.entry WHERE seq = 1", Code.ENTRY_MISSING),
        ("DELETE FROM ledger.entry WHERE seq = 3", Code.HEAD_ROW_MISMATCH),
        ("UPDATE ledger.head SET row_hash = '\\x00'", Code.HEAD_ROW_MISMATCH),
        ("UPDATE ledger.head SET round = 7", Code.HEAD_ROW_MISMATCH),
        ("UPDATE ledger.head SET ledger_time = 'epoch'", Code.HEAD_ROW_MISMATCH),
        ("UPDATE ledger.round SET root = note", Code.CHECKPOINT_MISMATCH),
        ("UPDATE ledger.round SET note = root", Code.CHECKPOINT_UNSIGNED),
        ("UPDATE ledger.entry SET row_hash = prev", Code.CHECKPOINT_MISMATCH),
        (
            "UPDATE ledger.entry SET local_header = prev WHERE seq = 3",
            Code.ROW_HASH_MISMATCH,
        ),
    ],
)
async def test_start_up_refuses_a_changed_end(
    world: LedgerWorld, sequencer: Sequencer, change: str, code: Code
) -> None:
    await sequencer.append_all([request(number) for number in range(3)])
    await sequencer.close_round()
    await sequencer.append(request(3))
    await sequencer.stop()
    with closing(world.superuser()) as connection:
        for table in ("entry_000000", "round", "head"):
            connection.execute(f"ALTER TABLE ledger.{table} DISABLE TRIGGER ALL")
        connection.execute(change)
    with pytest.raises(LedgerBroken) as refused:
        await world.sequencer().start()
    assert refused.value.finding.code == code


async def test_a_database_from_before_is_refused_while_running(
    world: LedgerWorld, sequencer: Sequencer
) -> None:
    await sequencer.append_all([request(number) for number in range(3)])
    with closing(world.superuser()) as connection:
        for table in ("entry_000000", "head"):
            connection.execute(f"ALTER TABLE ledger.{table} DISABLE TRIGGER ALL")
        connection.execute("DELETE FROM ledger.entry WHERE seq = 2")
        connection.execute(
            "UPDATE ledger.head SET seq = 2,"
            " row_hash = (SELECT row_hash FROM ledger.entry WHERE seq = 1)"
        )
    with pytest.raises(LedgerUnavailable):
        await sequencer.append(request(4))
    await eventually(lambda: "SMALLER_THAN_HELD" in (sequencer.unavailable or ""))


async def test_no_database_no_ledger(world: LedgerWorld) -> None:
    def unreachable() -> "psycopg.Connection[object]":
        raise psycopg.OperationalError("nobody listens")

    sequencer = world.sequencer(connect=unreachable)
    with pytest.raises(LedgerUnavailable, match="see that PostgreSQL runs"):
        await sequencer.start()


@pytest.fixture
def own_postgres() -> Iterator[PrivatePostgres]:
    directory = Path(tempfile.mkdtemp(prefix="ristmik-ledger-"))
    server = postgres_for(directory, os.environ.get(VARIABLE))
    try:
        if not isinstance(server, PrivatePostgres):
            pytest.skip("a PostgreSQL that somebody else runs is not stopped")
        server.start()
        yield server
    finally:
        server.stop()
        # What was killed may still be tidying its files away.
        shutil.rmtree(directory, ignore_errors=True)


async def test_a_database_that_does_not_answer_is_not_waited_for(
    own_postgres: PrivatePostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequencer_module, "ANSWER_S", 0.2)
    world = LedgerWorld.create(Databases(own_postgres), "ledger", tmp_path)
    sequencer = await world.started()
    with closing(world.superuser()) as connection:
        ((pid,),) = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'ristmik ledger'"
        ).fetchall()
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(LedgerUnavailable, match="has not answered"):
            await sequencer.append(request(1))
        async with asyncio.timeout(10):
            await sequencer.stop()
    finally:
        os.kill(pid, signal.SIGCONT)
    await (await world.started()).append(request(2))
    # The first may have been carried out when the server woke up.
    assert world.verify().first_bad is None
    await world.stop()


@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
async def test_postgresql_away_and_back(
    own_postgres: PrivatePostgres, tmp_path: Path, *, killed: bool
) -> None:
    world = LedgerWorld.create(Databases(own_postgres), "ledger", tmp_path)
    sequencer = await world.started()
    acknowledged: list[Appended] = []

    async def keep_appending(first: int) -> None:
        for number in range(first, first + 10_000):
            record = request(number)
            try:
                acknowledged.append(await sequencer.append(record))
            except LedgerUnavailable:
                pending.append(record)
                return

    pending: list[LedgerRecord] = []
    appending = [asyncio.create_task(keep_appending(n * 10_000)) for n in range(8)]
    await eventually(lambda: len(acknowledged) >= 50)
    if killed:
        os.kill(own_postgres.pid, signal.SIGKILL)
    else:
        await asyncio.to_thread(own_postgres.stop)
    await asyncio.gather(*appending)
    with pytest.raises(LedgerUnavailable):
        await sequencer.append(request(90_000))
    if killed:
        await asyncio.to_thread(own_postgres.stop)
    await asyncio.to_thread(own_postgres.start)
    await until_available(sequencer)
    again = [await sequencer.append(record) for record in pending]
    numbers = [each.seq for each in [*acknowledged, *again]]
    assert sorted(numbers) == list(range(len(numbers)))
    world.require_sound(entries=len(numbers))
    await world.stop()
