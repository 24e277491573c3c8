"""The tamper matrix: each attack as superuser, each naming entry and mechanism."""

import json
from contextlib import closing

import psycopg
import pytest

from ledger.checkpoint import Checkpoint, LogKey
from ledger.findings import CAUGHT_BY, Code, Mechanism
from ledger.subject_keys import SubjectKeys
from ledger.verification import Doubt, Outcome, Trust, verify_ledger
from tests.ledger.attacks import Attack
from tests.ledger.attacks_on_history import ATTACKS
from tests.ledger.dumping import dump
from tests.ledger.tampering import ERASED, SIZE, Ledger
from tests.ledger.world import CERTIFICATE, FakeHeads
from tests.vectors import reference_verifier
from vocabulary.faults import LedgerUnavailable
from vocabulary.imprint import Imprint

# It verifies neither signatures nor tokens.
BEYOND_REFERENCE = {
    Code.SIGNATURE_INVALID,
    Code.CHECKPOINT_UNSIGNED,
    Code.TIME_STAMP_INVALID,
}


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
    if attack.code not in BEYOND_REFERENCE:
        found = refer(ledger, held)
        assert found == (attack.entry, attack.code)


def test_the_reference_verifier_agrees_on_a_good_ledger(ledger: Ledger) -> None:
    assert refer(ledger) is None
    assert refer(ledger, ledger.checkpoints[-1]) is None


@pytest.mark.parametrize("number", range(7))
def test_every_earlier_checkpoint_agrees(ledger: Ledger, number: int) -> None:
    held = ledger.checkpoints[number]
    assert ledger.verify(held=held).ok


def test_a_checkpoint_of_another_log_is_no_comparison(ledger: Ledger) -> None:
    other = LogKey.generate("EE/GOV/70000349/ss2/log").sign(0, bytes(32))
    with pytest.raises(ValueError, match="another log"):
        ledger.verify(held=other)


def test_what_cannot_be_verified_is_said(ledger: Ledger) -> None:
    trust = Trust((ledger.log_key.verifier,), (), None)
    keys = SubjectKeys(ledger.directory / "elsewhere")
    result = ledger.verify(trust=trust, subject_keys=keys)
    assert result.outcome == Outcome.INCONCLUSIVE
    assert result.doubts == tuple(Doubt)
    assert not result.ok


def test_a_signature_by_another_certificate(ledger: Ledger) -> None:
    class Refusing:
        def verify(self, part, evidence, certificates):
            assert certificates[evidence.certificate] == CERTIFICATE
            assert bytes(32) not in certificates
            assert len(certificates) == len(list(certificates)) == 2
            certificates[bytes(32)]

    trust = Trust((ledger.log_key.verifier,), (), Refusing())
    result = ledger.verify(trust=trust)
    assert result.first_bad is not None
    assert (result.first_bad.entry, result.first_bad.caught_by) == (
        0,
        Mechanism.SIGNATURE,
    )


def test_a_token_is_not_needed_and_several_may_be(ledger: Ledger) -> None:
    with closing(ledger.tamper()) as superuser:
        superuser("DELETE FROM ledger.time_stamp WHERE round IN (0, 3, 5)")
        token = ledger.pki.token(Imprint.of(ledger.checkpoints[4].note))
        superuser(
            "INSERT INTO ledger.time_stamp VALUES (4, %s, %s)",
            *(Imprint.of(token).octets, token),
        )
    result = ledger.verify()
    assert (result.ok, result.time_stamped) == (True, 125)


def test_a_database_that_is_not_there(ledger: Ledger) -> None:
    with pytest.raises(LedgerUnavailable, match="cannot be read"):
        verify_ledger(
            ledger.reader_dsn.replace("/ledger_", "/no_ledger_"),
            trust=Trust((), (), None),
            heads=FakeHeads(),
            subject_keys=ledger.subject_keys,
        )


def test_the_whole_matrix_is_attacked() -> None:
    """Each code is found by some attack; a malformed erasure has a test of its own."""
    assert {attack.code for attack in ATTACKS} == set(Code) - {Code.ERASURE_MALFORMED}


def refer(ledger: Ledger, held: Checkpoint | None = None) -> tuple[int, str] | None:
    """What the reference verifier says of it."""
    keys = reference_verifier.keys_in(ledger.directory / "subject-keys")
    with closing(psycopg.connect(ledger.reader_dsn)) as connection:
        reference = reference_verifier.Ledger(dump(connection), keys, read_json_head)
    told = reference_verifier.checkpoint(held.note.decode()) if held else None
    return reference.verify(told)


def read_json_head(_part_type: str, head: bytes):
    """The tests' own heads, read without the product."""
    told = json.loads(head)
    if not isinstance(told, dict):
        raise TypeError("not a head")
    columns = {name: told.get(name) for name in reference_verifier.COLUMNS.split()}
    numbers = {name: columns[name] or 0 for name in ("direction", "part", "status")}
    return columns | numbers, bytes.fromhex(told["fields_root"])
