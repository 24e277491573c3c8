"""The sequencer's contract, on a real PostgreSQL."""

import asyncio
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from secrets import token_hex

import pytest

from ledger import sequencer as sequencer_module
from ledger.checkpoint import verify_checkpoint
from ledger.entry import NO_ROW
from ledger.fields import Field, Tag
from ledger.merkle import tree_root
from ledger.record import Kind, LedgerRecord, RecordedPart
from ledger.sequencer import Sequencer
from ledger.store import LedgerReader
from tests.databases import Databases
from tests.ledger.world import (
    MARI,
    OCSP,
    ORIGIN,
    READER,
    START,
    LedgerWorld,
    once,
    request,
)
from vocabulary.faults import (
    LedgerUnavailable,
    LimitExceeded,
    OutsideAcceptanceWindow,
    Replayed,
)
from vocabulary.imprint import Imprint


async def test_an_entry_holds_what_was_recorded(
    world: LedgerWorld, sequencer: Sequencer
) -> None:
    first = await sequencer.append(request(1))
    second = await sequencer.append(
        request(2, peer_row_hash=b"\x07" * 32, fault_code=9, execution=3)
    )
    assert (first.seq, second.seq, first.round) == (0, 1, 0)
    reader = LedgerReader.connect(world.dsn(READER))
    entries = reader.entries(0, 10)
    assert [entry.row_hash for entry in entries] == [first.row_hash, second.row_hash]
    assert [entry.prev for entry in entries] == [NO_ROW, first.row_hash]
    columns = entries[1].columns
    assert (columns.kind, columns.fault_code, columns.execution) == (2, 9, 3)
    assert columns.client == "EE/GOV/70000349/tax"
    assert [opening.value for opening in reader.openings(1)] == [b"body 2", MARI]
    assert reader.of_message("019ab0c4-7000-7000-8000-000000000002") == entries[1:]
    reader.close()


async def test_what_waits_is_committed_at_once_and_in_order(
    world: LedgerWorld, sequencer: Sequencer
) -> None:
    appended = await asyncio.gather(*(sequencer.append(request(n)) for n in range(600)))
    assert [each.seq for each in appended] == list(range(600))
    with world.superuser() as connection:
        commits = connection.execute(
            "SELECT count(DISTINCT xmin::text) FROM ledger.entry"
        ).fetchone()
    # 256 at most in one; the first may have gone alone.
    assert commits is not None
    assert 3 <= commits[0] <= 4


async def test_a_group_is_appended_whole_or_not_at_all(sequencer: Sequencer) -> None:
    await sequencer.append(request(1, once=once(1)))
    together = [request(2, once=once(2)), request(3, once=once(1))]
    alone = request(4, once=once(4))
    outcomes = await asyncio.gather(
        sequencer.append_all(together), sequencer.append(alone), return_exceptions=True
    )
    assert isinstance(outcomes[0], Replayed)
    # Key 2 is free again, since its group was not appended.
    again = await sequencer.append_all([request(2, once=once(2)), request(5)])
    assert [each.seq for each in again] == [2, 3]
    assert await sequencer.append_all([]) == []


async def test_a_duplicate_within_one_batch_fails_alone(sequencer: Sequencer) -> None:
    outcomes = await asyncio.gather(
        *(sequencer.append(request(n, once=once(n // 2))) for n in range(6)),
        return_exceptions=True,
    )
    assert [type(outcome).__name__ for outcome in outcomes] == [
        *("Appended", "Replayed") * 3
    ]


async def test_a_replay_is_refused_after_a_restart_and_a_clock_stepped_back(
    world: LedgerWorld, sequencer: Sequencer
) -> None:
    await sequencer.append(request(1, once=once(1)))
    await sequencer.stop()
    world.clock.now -= timedelta(hours=1)
    after = await world.started()
    with pytest.raises(Replayed):
        await after.append(request(1, once=once(1)))
    # What is new is taken, although the clock is behind the ledger's time.
    appended = await after.append(request(2, once=once(2)))
    assert appended.seq == 1


async def test_a_key_is_kept_until_its_end_and_never_taken_again(
    world: LedgerWorld, sequencer: Sequencer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("recent", "tail"):
        monkeypatch.setattr(f"ledger.{module}.ENTRIES", 2)
    await sequencer.append(request(1, once=once(1)))
    world.clock.now = START + timedelta(minutes=6)
    for number in (2, 3, 4):
        await sequencer.append(request(number))
    # The key is let go, so only its end can tell; the clock says otherwise.
    world.clock.now = START
    with pytest.raises(OutsideAcceptanceWindow):
        await sequencer.append(request(1, once=once(1)))
    world.clock.now = START + timedelta(minutes=20)
    for number in (5, 6, 7):
        await sequencer.append(request(number))
    await sequencer.stop()
    # Too old to be read back: the entries' times alone say how far it reaches.
    world.clock.now = START
    after = await world.started()
    with pytest.raises(OutsideAcceptanceWindow):
        await after.append(request(1, once=once(1)))
    fresh = once(8, until=START + timedelta(minutes=26))
    assert (await after.append(request(8, once=fresh))).seq == 7


async def test_a_record_id_again_gives_its_number(
    world: LedgerWorld, sequencer: Sequencer
) -> None:
    record = request(1, once=once(1))
    first, second = await asyncio.gather(
        sequencer.append(record), sequencer.append(record)
    )
    assert first == second == await sequencer.append(record)
    await sequencer.stop()
    after = await world.started()
    assert await after.append(record) == first
    assert (await after.append(request(2))).seq == 1


async def test_a_record_that_cannot_be_fails_alone(sequencer: Sequencer) -> None:
    unknown = request(1)
    evidence = unknown.evidence
    assert evidence is not None
    object.__setattr__(evidence, "certificate", bytes(32))
    other_fields = request(2)
    object.__setattr__(other_fields, "fields", request(3).fields)
    no_head = LedgerRecord(Kind.PART_SENT, RecordedPart("x", b"[]"))
    too_long = request(4, once=once(4, until=START + timedelta(days=1)))
    nul = request(5, kind=Kind.PART_SENT)
    hidden = request(6, unopened=(1,))
    bad = [unknown, other_fields, no_head, too_long, hidden]
    outcomes = await asyncio.gather(
        *(sequencer.append(record) for record in [*bad, nul]), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes[:-1]] == [ValueError] * len(bad)
    assert getattr(outcomes[-1], "seq", None) == 0


async def test_a_value_that_is_not_kept_is_committed_to(
    world: LedgerWorld, sequencer: Sequencer
) -> None:
    fields = (Field.salted(Tag.BODY, b"secret"), Field.salted(Tag.SUBJECT, MARI))
    await sequencer.append(request(1, fields=fields, unopened=(0,)))
    reader = LedgerReader.connect(world.dsn(READER))
    (entry,) = reader.entries(0, 1)
    assert entry.commitments == b"".join(field.commitment for field in fields)
    assert [each.position for each in reader.openings(0)] == [1]
    reader.close()


async def test_a_round_signs_what_was_appended(
    world: LedgerWorld, sequencer: Sequencer
) -> None:
    empty = await sequencer.close_round()
    appended = [await sequencer.append(request(n)) for n in range(5)]
    closed = await sequencer.close_round()
    assert (empty.round, empty.size, closed.round, closed.size) == (0, 0, 1, 5)
    assert {each.round for each in appended} == {1}
    told = verify_checkpoint(closed.note, world.vkeys)
    leaves = [Imprint.of(b"\0" + each.row_hash).digest for each in appended]
    assert (told.origin, told.size, told.root) == (ORIGIN, 5, tree_root(leaves))
    await sequencer.stop()
    after = await world.started()
    assert after.newest_checkpoint == closed
    again = await after.close_round()
    assert (again.round, again.size, again.root) == (2, 5, closed.root)
    assert (await after.append(request(9))).round == 3


async def test_time_stamps_are_kept_also_late(sequencer: Sequencer) -> None:
    rounds = [await sequencer.close_round() for _ in range(3)]
    assert await sequencer.unstamped_rounds() == rounds[::-1]
    await sequencer.add_time_stamp(1, b"a token")
    await sequencer.add_time_stamp(1, b"a token")
    await sequencer.add_time_stamp(1, b"another token")
    assert await sequencer.unstamped_rounds() == [rounds[2], rounds[0]]
    with pytest.raises(ValueError, match="round 3 is not closed"):
        await sequencer.add_time_stamp(3, b"a token")
    await sequencer.add_time_stamp(2, b"a token")


async def test_evidence_is_kept_under_its_imprint(
    world: LedgerWorld, sequencer: Sequencer
) -> None:
    unheard_of = Imprint.of(b"unheard of")
    assert not sequencer.has_evidence(unheard_of)
    assert await sequencer.evidence(unheard_of) is None
    await sequencer.put_evidence([b"unheard of", b"unheard of"])
    assert sequencer.has_evidence(unheard_of)
    await sequencer.stop()
    after = world.sequencer()
    await after.start()
    assert await after.evidence(Imprint.of(OCSP)) == OCSP
    # Refers to what was put before the restart.
    await after.append(request(1))


async def test_what_there_is_can_be_looked_up(
    world: LedgerWorld, sequencer: Sequencer
) -> None:
    with closing(LedgerReader.connect(world.dsn(READER))) as reader:
        assert (reader.size(), reader.newest_round()) == (0, None)
        await sequencer.append(request(1))
        closed = await sequencer.close_round()
        await sequencer.add_time_stamp(closed.round, b"a token")
        newest = reader.newest_round()
        assert newest is not None
        assert (newest.round, newest.size, newest.root, newest.note) == (
            *(closed.round, closed.size, closed.root, closed.note),
        )
        assert reader.size() == 1
        assert reader.time_stamps(0) == [b"a token"]
        assert reader.time_stamps(1) == []
        assert reader.evidence(Imprint.of(OCSP).octets) == OCSP
        assert reader.evidence(bytes(33)) is None


async def test_a_batch_larger_than_a_partition(
    postgres: Databases, tmp_path: Path
) -> None:
    world = LedgerWorld.create(
        postgres, f"ledger_{token_hex(6)}", tmp_path, partition_size=10
    )
    sequencer = await world.started()
    await sequencer.append_all([request(number) for number in range(95)])
    await sequencer.close_round()
    world.require_sound(entries=95)
    await world.stop()


async def test_a_full_queue_is_refused_by_name(
    sequencer: Sequencer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequencer_module, "WAITING_RECORDS", 3)
    outcomes = await asyncio.gather(
        *(sequencer.append(request(n)) for n in range(5)), return_exceptions=True
    )
    refused = [each for each in outcomes if isinstance(each, LimitExceeded)]
    assert len(refused) == 2
    assert "ledger queue" in refused[0].detail
    monkeypatch.setattr(sequencer_module, "RECORD_OCTETS", 100)
    with pytest.raises(LimitExceeded, match="a record of"):
        await sequencer.append(request(9))


async def test_who_no_longer_waits_is_not_recorded(
    world: LedgerWorld, sequencer: Sequencer
) -> None:
    kept = asyncio.create_task(sequencer.append(request(1)))
    given_up = asyncio.create_task(sequencer.append(request(2)))
    # Both are queued once each has run up to its first await.
    await asyncio.sleep(0)
    given_up.cancel()
    await kept
    await asyncio.wait({given_up})
    assert (await sequencer.append(request(3))).seq == 1


async def test_nothing_is_appended_before_start_or_after_stop(
    world: LedgerWorld,
) -> None:
    sequencer = world.sequencer()
    with pytest.raises(LedgerUnavailable, match="not started"):
        await sequencer.append(request(1))
    await sequencer.start()
    assert sequencer.unavailable is None
    waiting = asyncio.create_task(sequencer.append(request(1, evidence=False)))
    await asyncio.sleep(0)
    await sequencer.stop()
    await sequencer.stop()
    assert (await waiting).seq == 0
    with pytest.raises(LedgerUnavailable, match="stopped"):
        await sequencer.append(request(2))
    with pytest.raises(LedgerUnavailable, match="stopped"):
        await sequencer.close_round()


async def test_partitions_are_made_ahead(world: LedgerWorld) -> None:
    sequencer = await world.started()
    for start in range(0, 2_500, 500):
        numbers = range(start, start + 500)
        await asyncio.gather(
            *(sequencer.append(request(n, evidence=False)) for n in numbers)
        )
        await sequencer.close_round()
    with world.superuser() as connection:
        rows = connection.execute(
            "SELECT tableoid::regclass::text, count(*) FROM ledger.entry"
            " GROUP BY 1 ORDER BY 1"
        ).fetchall()
        (made,) = connection.execute(
            "SELECT count(*) FROM pg_inherits"
            " WHERE inhparent = 'ledger.subject_index'::regclass"
        ).fetchone() or (0,)
    assert [count for _, count in rows] == [1_000, 1_000, 500]
    assert made == 4
