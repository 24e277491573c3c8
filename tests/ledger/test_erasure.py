"""Erasing by entry: recorded first, deleted after, and all of it still verifies."""

from contextlib import closing

import pytest

from ledger.erased import Erased, erasure_fields, parse_erased_entries
from ledger.erasure import Eraser
from ledger.fields import Field, Tag
from ledger.findings import Code
from ledger.record import Kind, LedgerRecord
from ledger.sequencer import Sequencer
from ledger.store import LedgerReader
from ledger.subject_keys import SubjectKeys
from tests.ledger.faults import Faults
from tests.ledger.world import ERASER, READER, LedgerWorld, request
from vocabulary.faults import EntryUnknown, LedgerUnavailable


@pytest.fixture
def faults(world: LedgerWorld) -> Faults:
    return Faults(world.dsn(ERASER))


@pytest.fixture
def eraser(world: LedgerWorld, sequencer: Sequencer, faults: Faults) -> Eraser:
    return Eraser(
        sequencer, world.dsn(ERASER), world.subject_keys, connect=faults.connect
    )


def openings(world: LedgerWorld, seq: int) -> int:
    with closing(LedgerReader.connect(world.dsn(READER))) as reader:
        return len(reader.openings(seq))


async def test_what_is_erased_is_gone_and_the_rest_verifies(
    world: LedgerWorld, sequencer: Sequencer, eraser: Eraser
) -> None:
    await sequencer.append_all([request(number) for number in range(4)])
    await sequencer.close_round()
    appended = await eraser.erase([2, 0, 2], reason="kept for long enough")
    await sequencer.close_round()
    assert [openings(world, seq) for seq in range(5)] == [0, 2, 0, 2, 3]
    result = world.verify()
    assert result.first_bad is None
    assert (result.erased, result.not_yet_erased) == (2, 0)
    with closing(LedgerReader.connect(world.dsn(READER))) as reader:
        (entry,) = reader.entries(appended.seq, appended.seq + 1)
        told = {each.tag: each.value for each in reader.openings(appended.seq)}
    assert entry.columns.kind == Kind.ERASURE
    assert parse_erased_entries(told[Tag.ERASED_ENTRIES]) == (0, 2)
    assert told[Tag.ERASURE_REASON] == b"kept for long enough"
    # The person still finds that it happened.
    with closing(world.superuser()) as connection:
        rows = connection.execute("SELECT seq FROM ledger.subject_index ORDER BY seq")
        assert [seq for (seq,) in rows] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([], "name the entries"),
        ([-1], "name the entries"),
        ([0, 9], "there is no entry 9"),
        ([1], "holds nothing"),
        ([2], "is itself an erasure"),
    ],
)
async def test_what_cannot_be_erased_leaves_all_as_it_was(
    world: LedgerWorld,
    sequencer: Sequencer,
    eraser: Eraser,
    entries: list[int],
    why: str,
) -> None:
    await sequencer.append(request(0))
    await sequencer.append(LedgerRecord(Kind.CONFIGURATION_CHANGED))
    await sequencer.append(
        LedgerRecord(Kind.ERASURE, None, erasure_fields([1], [], ""))
    )
    with pytest.raises(EntryUnknown, match=why):
        await eraser.erase(entries, reason="no reason")
    assert openings(world, 0) == 2
    world.require_sound(entries=3)


async def test_what_is_erased_cannot_be_erased_again(
    sequencer: Sequencer, eraser: Eraser
) -> None:
    await sequencer.append(request(0))
    await eraser.erase([0], reason="once")
    with pytest.raises(EntryUnknown, match="or no longer"):
        await eraser.erase([0], reason="twice")


@pytest.mark.parametrize("again", ["complete", "erase"])
async def test_an_erasure_that_was_interrupted_is_carried_out(
    world: LedgerWorld,
    sequencer: Sequencer,
    eraser: Eraser,
    faults: Faults,
    again: str,
) -> None:
    await sequencer.append_all([request(number) for number in range(3)])
    await eraser.complete()
    faults.arm("DELETE FROM ledger.opening")
    with pytest.raises(LedgerUnavailable, match="erase again, or restart"):
        await eraser.erase([0], reason="interrupted")
    assert openings(world, 0) == 2
    result = world.verify()
    assert result.first_bad is None
    assert result.not_yet_erased == 1
    after = Eraser(sequencer, world.dsn(ERASER), world.subject_keys)
    if again == "complete":
        await after.complete()
    else:
        await eraser.erase([1], reason="the next")
    assert openings(world, 0) == 0
    assert world.verify().not_yet_erased == 0


async def test_a_deletion_that_persisted_though_it_failed_is_lawful(
    world: LedgerWorld, sequencer: Sequencer, eraser: Eraser, faults: Faults
) -> None:
    await sequencer.append(request(0))
    await eraser.complete()
    faults.arm("DELETE FROM ledger.opening")
    faults.armed.clear()
    faults.arm("DELETE FROM ledger.opening", persisted=True)
    with pytest.raises(LedgerUnavailable):
        await eraser.erase([0], reason="interrupted")
    await eraser.complete()
    assert openings(world, 0) == 0
    world.require_sound(entries=2)


async def test_nothing_is_erased_that_is_not_recorded(
    world: LedgerWorld, sequencer: Sequencer, eraser: Eraser
) -> None:
    await sequencer.append(request(0))
    await sequencer.stop()
    with pytest.raises(LedgerUnavailable):
        await eraser.erase([0], reason="not recorded")
    assert openings(world, 0) == 2


async def test_persons_whose_month_has_no_key_any_more(
    world: LedgerWorld, sequencer: Sequencer, eraser: Eraser
) -> None:
    await sequencer.append_all([request(0), request(1)])
    for path in (world.directory / "subject-keys").iterdir():
        path.unlink()
    after = Eraser(sequencer, world.dsn(ERASER), SubjectKeys(world.directory / "none"))
    await after.erase([0], reason="late")
    result = world.verify()
    assert result.first_bad is None
    assert "SUBJECT_KEY_MISSING" in result.doubts
    assert not result.ok


@pytest.mark.parametrize("value", [b"", b"\0" * 9, bytes(16), (5).to_bytes(8, "big")])
async def test_an_erasure_that_says_nothing_clear_is_found(
    world: LedgerWorld, sequencer: Sequencer, value: bytes
) -> None:
    await sequencer.append(request(0))
    fields = (Field.salted(Tag.ERASED_ENTRIES, value),)
    await sequencer.append(LedgerRecord(Kind.ERASURE, None, fields))
    result = world.verify()
    assert result.first_bad is not None
    assert (result.first_bad.entry, result.first_bad.code) == (
        1,
        Code.ERASURE_MALFORMED,
    )


def test_only_an_erasure_makes_a_loss_lawful() -> None:
    erased = Erased()
    for field in erasure_fields([3, 1], [(3, b"x" * 16), (1, b"y" * 16)], "why"):
        erased.add(9, field.tag, field.value)
    assert erased.entries == {1: 9, 3: 9}
    assert erased.index_rows == {1: {b"y" * 16}, 3: {b"x" * 16}}
