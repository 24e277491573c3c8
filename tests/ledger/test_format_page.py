"""docs/ledger-format.md says what the code does: its tables and its examples."""

import asyncio
import re
import sys
from enum import IntEnum
from pathlib import Path

import pytest

from ledger.fields import Tag
from ledger.findings import CAUGHT_BY, Code, Mechanism
from ledger.local_header import HeaderTag
from ledger.record import Kind, LedgerRecord
from ledger.sequencer import Sequencer
from messaging.heads import HeadReader
from tests.ledger.dumping import PAGE, dump
from tests.ledger.examples import FIELDS, KEY, PART, entries, examples
from tests.ledger.world import WRITER, LedgerWorld
from tests.vectors import reference_verifier

TEXT = PAGE.read_text()


def test_the_examples_are_those_the_code_makes() -> None:
    shown = dict(re.findall(r"```text ([^\n]+)\n(.*?)\n```", TEXT, re.DOTALL))
    assert shown == examples()


def table(header: str) -> str:
    (found,) = (each for each in TEXT.split("\n\n") if each.startswith(header))
    return found


@pytest.mark.parametrize(
    ("numbers", "header"),
    [(Tag, "| tag | field |"), (HeaderTag, "| tag | item |"), (Kind, "| kind |")],
)
def test_numbers_are_those_of_the_code(numbers: type[IntEnum], header: str) -> None:
    rows = re.findall(r"\| (\d+) \| ([A-Z_]+) ", table(header))
    said = {name: int(number) for number, name in rows}
    assert said == {each.name: each.value for each in numbers}


def test_codes_and_mechanisms_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| ([A-Z_]+) \| ([A-Z_]+) \| [^|]+ \|$", TEXT, re.MULTILINE)
    assert dict(rows) == CAUGHT_BY
    assert set(CAUGHT_BY) == set(Code)
    assert set(CAUGHT_BY.values()) == set(Mechanism)


def test_the_reference_verifier_reads_the_example_checkpoint() -> None:
    note = examples()["checkpoint"].removeprefix(f"{KEY.vkey}\n\n")
    size, root = reference_verifier.checkpoint(note)
    assert (size, root.hex()) == (2, examples()["rows"].split()[-1])


def test_the_reference_verifier_reads_real_heads() -> None:
    first, _ = entries()
    told, root = reference_verifier.read_head(PART.type, PART.head)
    assert root == first.fields_root
    columns = first.columns._asdict()
    assert told == {
        name: str(columns[name]) if name == "message_id" else columns[name]
        for name in told
    }
    assert told.keys() == columns.keys() - {
        *("kind", "recorded_at", "fault_code", "execution"),
    }


async def test_the_reference_verifier_runs_by_itself(
    world: LedgerWorld, tmp_path: Path
) -> None:
    """On a dump made as the page says, with heads as they are exchanged."""
    sequencer = Sequencer(
        world.dsn(WRITER),
        log_key=world.log_key,
        heads=HeadReader(),
        subject_keys=world.subject_keys,
        clock=world.clock,
    )
    await sequencer.start()
    await sequencer.append(LedgerRecord(Kind.REQUEST_RECEIVED, PART, FIELDS))
    await sequencer.append(LedgerRecord(Kind.CONFIGURATION_CHANGED))
    closed = await sequencer.close_round()
    await sequencer.stop()
    with world.superuser() as connection:
        lines = dump(connection)
    rows, held = tmp_path / "rows.jsonl", tmp_path / "held"
    held.write_bytes(closed.note)

    async def verify(content: str) -> tuple[str, int | None]:
        rows.write_text(content)
        keys = world.directory / "subject-keys"
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", reference_verifier.__file__, rows, keys, held),
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await program.communicate()
        return output.decode(), program.returncode

    assert await verify("\n".join(lines)) == ("ok\n", 0)
    edited = "\n".join(lines).replace("tax-audit", "tax-fraud")
    assert await verify(edited) == ("entry 0: COLUMN_MISMATCH\n", 1)
