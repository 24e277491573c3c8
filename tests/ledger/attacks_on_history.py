"""The tamper matrix, second half: history written again, the end cut off, rounds."""

from datetime import timedelta
from typing import Any

from ledger.checkpoint import LogKey
from ledger.findings import Code
from ledger.local_header import microseconds
from tests.ledger.attacks import ATTACKS, EDIT_ENTRY, Attack, attack
from tests.ledger.tampering import SIZE, Attacker
from tests.ledger.world import ORIGIN, START

__all__ = ["ATTACKS"]

_HEAD = "UPDATE ledger.head SET {} = %s"
# The tables whose rows belong to entries.
_RENUMBER = "UPDATE ledger.{} SET seq = %s WHERE seq = %s"
_DRAW_UP = "UPDATE ledger.{} SET seq = seq - 1 WHERE seq > %s"
_MAKE_ROOM = "UPDATE ledger.{} SET seq = seq + 1 WHERE seq = %s"
_DELETE = "DELETE FROM ledger.{} WHERE seq = %s"
_CUT = "DELETE FROM ledger.{} WHERE seq >= %s"
_REPEAT = "INSERT INTO ledger.{0} ({1}) SELECT {2} FROM ledger.{0} WHERE seq = 129"

# Editing, and then making the row hashes agree.


@attack(50, Code.SIGNATURE_INVALID)
def edit_a_head_and_link_again(do: Attacker) -> None:
    do.change_head(50, lambda head: head.update(client="EE/GOV/70000349/other"))
    do(EDIT_ENTRY.format("client"), "EE/GOV/70000349/other", 50)
    do.relink(50)


@attack(50, Code.HEAD_FIELDS_MISMATCH)
def let_a_head_commit_to_other_fields(do: Attacker) -> None:
    do.change_head(50, lambda head: head.update(fields_root=bytes(32).hex()))
    do.relink(50)


@attack(50, Code.HEAD_UNREADABLE)
def put_an_unreadable_head(do: Attacker) -> None:
    do(EDIT_ENTRY.format("head"), b"[]", 50)
    do.relink(50)


@attack(50, Code.LOCAL_HEADER_MALFORMED)
def put_an_unreadable_local_header(do: Attacker) -> None:
    do(EDIT_ENTRY.format("local_header"), b"\0\1\0\0\0\1", 50)
    do.relink(50)


@attack(51, Code.LINK_BROKEN)
def edit_one_and_link_only_that(do: Attacker) -> None:
    do.change_header(50, peer_row_hash=bytes(32))
    do.relink(50, stop=51)


@attack(100, Code.TIME_GOES_BACK)
def back_date_an_entry(do: Attacker) -> None:
    do.change_header(100, recorded_at=microseconds(START))
    do(EDIT_ENTRY.format("recorded_at"), START, 100)
    do.relink(100)


@attack(41, Code.ROUND_MISMATCH)
def move_an_entry_to_a_round_before(do: Attacker) -> None:
    do(EDIT_ENTRY.format("round"), 1, 41)
    do.relink(41)


@attack(40, Code.CHECKPOINT_MISMATCH)
def edit_and_link_again(do: Attacker) -> None:
    do.change_header(50, peer_row_hash=bytes(32))
    do.relink(50)


def _delete_and_renumber(do: Attacker, seq: int) -> None:
    for table in ("entry", "opening", "subject_index"):
        do(_DELETE.format(table), seq)
        do(_DRAW_UP.format(table), seq)
    do.relink(seq)
    do("UPDATE ledger.head SET seq = seq - 1")


@attack(126, Code.CHECKPOINT_MISMATCH)
def delete_and_link_again(do: Attacker) -> None:
    _delete_and_renumber(do, 130)


@attack(126, Code.CHECKPOINT_MISMATCH)
def reorder_and_link_again(do: Attacker) -> None:
    for table in ("entry", "opening", "subject_index"):
        for old, new in ((130, 199), (131, 130), (199, 131)):
            do(_RENUMBER.format(table), new, old)
    # Their times change places too, so that none goes back.
    for seq, at in ((130, 0), (131, 1)):
        moment = START + timedelta(days=11, microseconds=at)
        do.change_header(seq, recorded_at=microseconds(moment))
        do(EDIT_ENTRY.format("recorded_at"), moment, seq)
    do.connection.execute(
        "UPDATE ledger.entry SET recorded_at = %s WHERE seq > 131",
        (START + timedelta(days=12),),
    )
    for seq in range(132, SIZE):
        do.change_header(seq, recorded_at=microseconds(START + timedelta(days=12)))
    do.relink(130)


@attack(126, Code.CHECKPOINT_MISMATCH)
def insert_and_link_again(do: Attacker) -> None:
    for table in ("subject_index", "opening", "entry"):
        for seq in range(SIZE - 1, 129, -1):
            do.connection.execute(_MAKE_ROOM.format(table).encode(), (seq,))
        columns = do.columns(table)
        listed = ", ".join(name if name != "seq" else "130" for name in columns)
        do(_REPEAT.format(table, ", ".join(columns), listed))
    do.relink(130)
    do("UPDATE ledger.head SET seq = seq + 1")


@attack(40, Code.TIME_STAMP_INVALID)
def sign_again_with_a_stolen_key(do: Attacker) -> None:
    do.change_header(50, peer_row_hash=bytes(32))
    do.relink(50)
    do.sign_again()


@attack(0, Code.HELD_ROOT_DIFFERS, held=True)
def sign_again_and_drop_the_tokens(do: Attacker) -> None:
    do.change_header(50, peer_row_hash=bytes(32))
    do.relink(50)
    do.sign_again()
    do("DELETE FROM ledger.time_stamp WHERE round >= 3")


# The end.


def _truncate(do: Attacker, seq: int) -> None:
    for table in ("entry", "opening", "subject_index"):
        do(_CUT.format(table), seq)


@attack(140, Code.ENTRY_MISSING)
def cut_the_end_off(do: Attacker) -> None:
    _truncate(do, 140)


@attack(146, Code.ENTRY_MISSING)
def cut_the_open_round_off(do: Attacker) -> None:
    _truncate(do, 146)


@attack(126, Code.CHECKPOINT_MISMATCH)
def cut_the_end_off_and_say_so_in_the_head_row(do: Attacker) -> None:
    _truncate(do, 140)
    do(
        "UPDATE ledger.head SET seq = 140,"
        " row_hash = (SELECT row_hash FROM ledger.entry WHERE seq = 139)"
    )


@attack(146, Code.HEAD_ROW_MISMATCH)
def cut_the_open_round_off_and_only_count(do: Attacker) -> None:
    _truncate(do, 146)
    do("UPDATE ledger.head SET seq = 146")


@attack(126, Code.SMALLER_THAN_HELD, held=True)
def cut_the_end_off_at_a_round(do: Attacker) -> None:
    _truncate(do, 126)
    do("DELETE FROM ledger.round WHERE round > 5")
    do(
        "UPDATE ledger.head SET seq = 126, round = 6,"
        " row_hash = (SELECT row_hash FROM ledger.entry WHERE seq = 125),"
        " ledger_time = (SELECT closed_at FROM ledger.round WHERE round = 5)"
    )


@attack(SIZE, Code.HEAD_ROW_MISMATCH)
def delete_the_head_row(do: Attacker) -> None:
    do("DELETE FROM ledger.head")


def _edits_head(column: str, value: Any, code: Code = Code.HEAD_ROW_MISMATCH) -> None:
    def edit(do: Attacker) -> None:
        do(_HEAD.format(column), value)

    name = f"set {column} of the head row to {value!r:.12}"
    ATTACKS.append(Attack(name, edit, SIZE, code))


_edits_head("seq", SIZE + 1, Code.ENTRY_MISSING)
_edits_head("seq", SIZE - 1)
_edits_head("round", 8)
_edits_head("row_hash", bytes(32))
_edits_head("ledger_time", START)


# Rounds.


@attack(40, Code.ROUND_MISSING)
def delete_a_round(do: Attacker) -> None:
    do("DELETE FROM ledger.round WHERE round = 3")


@attack(40, Code.ROUND_MISSING)
def delete_an_empty_round(do: Attacker) -> None:
    do("DELETE FROM ledger.round WHERE round = 2")


@attack(40, Code.CHECKPOINT_MISMATCH)
def edit_a_root(do: Attacker) -> None:
    do("UPDATE ledger.round SET root = %s WHERE round = 3", bytes(32))


@attack(40, Code.CHECKPOINT_MISMATCH)
def edit_a_size(do: Attacker) -> None:
    do("UPDATE ledger.round SET size = 84 WHERE round = 3")


@attack(40, Code.CHECKPOINT_MISMATCH)
def exchange_a_note_for_an_earlier_one(do: Attacker) -> None:
    do(
        "UPDATE ledger.round SET note = (SELECT note FROM ledger.round WHERE round = 1)"
        " WHERE round = 3"
    )


@attack(40, Code.CHECKPOINT_UNSIGNED)
def sign_a_note_with_another_key(do: Attacker) -> None:
    ((size, root),) = do.connection.execute(
        "SELECT size, root FROM ledger.round WHERE round = 3"
    ).fetchall()
    note = LogKey.generate(ORIGIN).sign(size, root).note
    do("UPDATE ledger.round SET note = %s WHERE round = 3", note)


@attack(40, Code.ROUND_TIME_MISMATCH)
def back_date_a_round(do: Attacker) -> None:
    do("UPDATE ledger.round SET closed_at = %s WHERE round = 3", START)


@attack(85, Code.ROUND_TIME_MISMATCH)
def date_a_round_ahead(do: Attacker) -> None:
    moment = START + timedelta(days=20)
    do("UPDATE ledger.round SET closed_at = %s WHERE round = 3", moment)


# Tokens.


@attack(40, Code.TIME_STAMP_INVALID)
def edit_a_token(do: Attacker) -> None:
    do("UPDATE ledger.time_stamp SET token = '\\x00' WHERE round = 3")


@attack(40, Code.TIME_STAMP_INVALID)
def give_a_round_another_rounds_token(do: Attacker) -> None:
    do(
        "INSERT INTO ledger.time_stamp SELECT 3, imprint, token"
        " FROM ledger.time_stamp WHERE round = 4"
    )


@attack(146, Code.TIME_STAMP_INVALID)
def stamp_a_round_that_is_not_there(do: Attacker) -> None:
    do(
        "INSERT INTO ledger.time_stamp SELECT 9, imprint, token"
        " FROM ledger.time_stamp WHERE round = 4"
    )
