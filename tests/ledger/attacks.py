"""The tamper matrix, first half: rows that are changed where they stand.

Each attack names the entry and the code that it is found under.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from ledger.findings import Code
from tests.ledger.tampering import ERASED, ERASURE, SIZE, UNOPENED, Attacker
from tests.ledger.world import CERTIFICATE, START
from vocabulary.imprint import Imprint

EDIT_ENTRY = "UPDATE ledger.entry SET {} = %s WHERE seq = %s"
_COLUMNS: dict[str, Any] = {
    "kind": 7,
    "recorded_at": START + timedelta(days=20),
    "fault_code": 3,
    "execution": 2,
    "message_id": "019ab0c4-7000-7000-8000-00000000ffff",
    "direction": 2,
    "part": 9,
    "client": "EE/GOV/70000349/other",
    "service": "EE/GOV/70008440/population/persons/v2",
    "method": "population.v1.PersonRegistry/ListPersons",
    "purpose": None,
    "legal_basis": "TaxAct/11",
    "status": 5,
}


@dataclass(frozen=True, slots=True)
class Attack:
    name: str
    carry_out: Callable[[Attacker], None]
    entry: int
    code: Code
    # An earlier checkpoint, kept elsewhere, is needed to see it.
    held: bool = False


ATTACKS: list[Attack] = []


def attack(
    entry: int, code: Code, *, held: bool = False
) -> Callable[[Callable[[Attacker], None]], None]:
    def register(carry_out: Callable[[Attacker], None]) -> None:
        ATTACKS.append(Attack(carry_out.__name__, carry_out, entry, code, held))

    return register


def _edits(column: str, value: Any, code: Code, *, entry: int = 50) -> None:
    def edit(do: Attacker) -> None:
        do(EDIT_ENTRY.format(column), value, entry)

    ATTACKS.append(Attack(f"edit {column}", edit, entry, code))


for _name, _value in _COLUMNS.items():
    _edits(_name, _value, Code.COLUMN_MISMATCH)
_edits("round", 2, Code.ROW_HASH_MISMATCH)
_edits("local_header", b"\0" * 40, Code.ROW_HASH_MISMATCH)
_edits("part_type", "ristmik.close.v1", Code.ROW_HASH_MISMATCH)
_edits("head", b"{}", Code.ROW_HASH_MISMATCH)
_edits("fields_root", bytes(32), Code.ROW_HASH_MISMATCH)
_edits("prev", bytes(32), Code.ROW_HASH_MISMATCH)
_edits("row_hash", bytes(32), Code.ROW_HASH_MISMATCH)
_edits("commitments", bytes(64), Code.COMMITMENTS_MISMATCH)
_edits("round", 2, Code.ROW_HASH_MISMATCH, entry=0)
_edits("row_hash", bytes(32), Code.ROW_HASH_MISMATCH, entry=SIZE - 1)


@attack(50, Code.ROW_HASH_MISMATCH)
def drop_the_part_type(do: Attacker) -> None:
    do(EDIT_ENTRY.format("part_type"), None, 50)


@attack(50, Code.ROW_UNREADABLE)
def set_a_time_that_is_none(do: Attacker) -> None:
    do("UPDATE ledger.entry SET recorded_at = 'infinity' WHERE seq = 50")


@attack(30, Code.ENTRY_MISSING)
def delete_an_entry(do: Attacker) -> None:
    do("DELETE FROM ledger.entry WHERE seq = 30")


# With it goes the erasure that let openings of the partition before be missing.
@attack(ERASED[0], Code.OPENING_MISSING)
def detach_a_partition(do: Attacker) -> None:
    do("ALTER TABLE ledger.entry DETACH PARTITION ledger.entry_000001")


@attack(110, Code.ENTRY_MISSING)
def delete_from_a_partition_by_name(do: Attacker) -> None:
    do("DELETE FROM ledger.entry_000001 WHERE seq = 110")


# Openings.


@attack(41, Code.OPENING_ALTERED)
def edit_a_value(do: Attacker) -> None:
    do("UPDATE ledger.opening SET value = '\\x00' WHERE seq = 41 AND position = 1")


@attack(41, Code.OPENING_ALTERED)
def edit_a_salt(do: Attacker) -> None:
    do("UPDATE ledger.opening SET salt = '\\x00' WHERE seq = 41 AND position = 0")


@attack(41, Code.OPENING_ALTERED)
def edit_a_tag(do: Attacker) -> None:
    do("UPDATE ledger.opening SET tag = -1 WHERE seq = 41 AND position = 0")


@attack(70, Code.OPENING_ALTERED)
def swap_two_bodies(do: Attacker) -> None:
    do(
        "UPDATE ledger.opening AS a SET salt = b.salt, value = b.value"
        " FROM ledger.opening AS b WHERE a.position = 0 AND b.position = 0"
        " AND (a.seq, b.seq) IN ((70, 74), (74, 70))"
    )


@attack(41, Code.OPENING_MISSING)
def delete_an_opening_without_an_erasure(do: Attacker) -> None:
    do("DELETE FROM ledger.opening WHERE seq = 41 AND position = 0")


@attack(UNOPENED, Code.OPENING_SURPLUS)
def open_what_is_not_to_be_kept(do: Attacker) -> None:
    do(
        "INSERT INTO ledger.opening SELECT %s, 0, tag, salt, value"
        " FROM ledger.opening WHERE seq = 41 AND position = 0",
        UNOPENED,
    )


@attack(SIZE, Code.OPENING_SURPLUS)
def open_an_entry_that_is_not_there(do: Attacker) -> None:
    do(
        "INSERT INTO ledger.opening SELECT 160, 0, tag, salt, value"
        " FROM ledger.opening WHERE seq = 41 AND position = 0"
    )


@attack(ERASED[0], Code.OPENING_ALTERED)
def put_another_value_where_one_was_erased(do: Attacker) -> None:
    do(
        "INSERT INTO ledger.opening SELECT %s, 0, tag, salt, value"
        " FROM ledger.opening WHERE seq = 41 AND position = 0",
        ERASED[0],
    )


@attack(ERASED[0], Code.OPENING_MISSING)
def hide_what_was_erased(do: Attacker) -> None:
    do("DELETE FROM ledger.opening WHERE seq = %s", ERASURE)


@attack(ERASED[0], Code.OPENING_MISSING)
def erase_another_under_the_same_erasure(do: Attacker) -> None:
    do(
        "UPDATE ledger.opening SET value = value || %s WHERE seq = %s AND tag = 10",
        *((70).to_bytes(8, "big"), ERASURE),
    )
    do("DELETE FROM ledger.opening WHERE seq = 70")


# The subject index.


@attack(41, Code.INDEX_ROW_MISSING)
def delete_an_index_row(do: Attacker) -> None:
    do("DELETE FROM ledger.subject_index WHERE seq = 41")


@attack(42, Code.INDEX_ROW_MISSING)
def delete_the_index_row_of_one_of_two_persons(do: Attacker) -> None:
    do(
        "DELETE FROM ledger.subject_index WHERE seq = 42 AND tag ="
        " (SELECT tag FROM ledger.subject_index WHERE seq = 42 LIMIT 1)"
    )


@attack(41, Code.INDEX_ROW_MISSING)
def redirect_an_index_row_to_another_entry(do: Attacker) -> None:
    do("UPDATE ledger.subject_index SET seq = 44 WHERE seq = 41")


@attack(41, Code.INDEX_ROW_MISSING)
def redirect_an_index_row_to_another_person(do: Attacker) -> None:
    do("UPDATE ledger.subject_index SET tag = %s WHERE seq = 41", bytes(16))


@attack(41, Code.INDEX_ROW_MISSING)
def say_another_month(do: Attacker) -> None:
    do("UPDATE ledger.subject_index SET month = 202612 WHERE seq = 41")


@attack(41, Code.INDEX_ROW_MISSING)
def withhold_an_index_row(do: Attacker) -> None:
    do(
        "INSERT INTO ledger.subject_index_withheld"
        " SELECT * FROM ledger.subject_index WHERE seq = 41"
    )
    do("DELETE FROM ledger.subject_index WHERE seq = 41")


@attack(41, Code.INDEX_ROW_SURPLUS)
def withhold_what_is_not_hidden(do: Attacker) -> None:
    do(
        "INSERT INTO ledger.subject_index_withheld"
        " SELECT * FROM ledger.subject_index WHERE seq = 41"
    )


@attack(43, Code.INDEX_ROW_SURPLUS)
def accuse_a_person(do: Attacker) -> None:
    do("INSERT INTO ledger.subject_index VALUES (%s, 202611, 43)", bytes(16))


@attack(SIZE, Code.INDEX_ROW_SURPLUS)
def index_an_entry_that_is_not_there(do: Attacker) -> None:
    do("INSERT INTO ledger.subject_index VALUES (%s, 202611, 160)", bytes(16))


@attack(ERASED[0], Code.INDEX_ROW_MISSING)
def delete_the_index_row_of_an_erased_entry(do: Attacker) -> None:
    do("DELETE FROM ledger.subject_index WHERE seq = %s", ERASED[0])


# Evidence.


@attack(0, Code.EVIDENCE_ALTERED)
def exchange_a_certificate(do: Attacker) -> None:
    do(
        "UPDATE ledger.evidence SET der = '\\x00' WHERE imprint = %s",
        Imprint.of(CERTIFICATE).octets,
    )


@attack(0, Code.EVIDENCE_MISSING)
def delete_a_certificate(do: Attacker) -> None:
    do(
        "DELETE FROM ledger.evidence WHERE imprint = %s",
        Imprint.of(CERTIFICATE).octets,
    )


@attack(SIZE, Code.EVIDENCE_ALTERED)
def put_evidence_under_a_wrong_name(do: Attacker) -> None:
    do("INSERT INTO ledger.evidence VALUES (%s, '\\x00')", b"\1" + bytes(32))
