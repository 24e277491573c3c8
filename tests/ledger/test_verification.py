"""The tamper matrix: each attack as superuser, each naming entry and mechanism."""

from contextlib import closing

import pytest

from ledger.findings import CAUGHT_BY
from ledger.verification import Outcome
from tests.ledger.attacks import ATTACKS, Attack
from tests.ledger.tampering import ERASED, SIZE, Ledger


def test_a_good_ledger_is_ok(ledger: Ledger) -> None:
    told: list[tuple[int, int]] = []
    result = ledger.verify(progress=lambda done, total: told.append((done, total)))
    assert result.first_bad is None
    assert (result.outcome, result.ok, result.doubts) == (Outcome.OK, True, ())
    assert (result.entries, result.rounds, result.time_stamped) == (SIZE, 7, 126)
    assert (result.erased, result.not_yet_erased) == (len(ERASED), 0)
    assert result.newest_checkpoint is not None
    assert result.newest_checkpoint.note == ledger.checkpoints[-1].note
    assert told == [(SIZE, SIZE)]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_is_found_and_named(ledger: Ledger, attack: Attack) -> None:
    with closing(ledger.tamper()) as attacker:
        attack.carry_out(attacker)
    held = ledger.checkpoints[-1] if attack.held else None
    if attack.held:
        assert ledger.verify().ok, "only what is kept elsewhere shows it"
    result = ledger.verify(held=held)
    assert result.first_bad is not None
    assert (result.first_bad.entry, result.first_bad.code) == (
        attack.entry,
        attack.code,
    )
    assert result.first_bad.caught_by == CAUGHT_BY[attack.code]
    assert (result.outcome, result.ok) == (Outcome.FAILED, False)
