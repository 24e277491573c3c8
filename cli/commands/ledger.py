"""`ristmik ledger`: reading, verifying and erasing of one security server's ledger."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import grpc
import typer
from rich.progress import Progress

from cli.connection import administration, ask, find
from cli.failures import NOT_SO, OutOfReach, Refused
from cli.options import DEFAULT_DIRECTORY, AsJson, Directory, ServerOption
from cli.output import Document, Output, print_document
from cli.parts import Parts, ServerPart
from messaging.wire.faults import fault_of
from protos.v1.administration_pb2 import EraseEntriesRequest
from vocabulary.identifiers import SecurityServerId

if TYPE_CHECKING:
    from ledger.entry import LinkedEntry
    from ledger.store import LedgerReader
    from ledger.verification import Verification

POLL_S = 0.3
PAGE = 500

ledger = typer.Typer(no_args_is_help=True, help="Ledgers of the security servers.")


@ledger.command(
    "verify",
    epilog="Example: ristmik ledger verify --server EE-SANDBOX/GOV/70000349/ss1"
    " --against kept-elsewhere.note",
)
def verify(
    *,
    server: ServerOption,
    against: Annotated[
        Path | None,
        typer.Option(
            "--against",
            metavar="FILE",
            help="An earlier checkpoint, kept outside the server.",
        ),
    ] = None,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Recompute a whole ledger; name the first bad entry, and what caught it."""
    # See `reading`.
    from cli.ledger_verification import verify_ledger  # noqa: PLC0415

    output, parts = Output(as_json=as_json), find(directory)
    with Progress(console=output.notes, transient=True) as bar:
        task = bar.add_task("verifying", total=None)
        verified = verify_ledger(
            parts,
            parts.server(server),
            against=against,
            progress=lambda done, all_: bar.update(task, completed=done, total=all_),
        )
    for doubt in verified.doubts:
        output.note(f"inconclusive: {doubt}")
    output.result(_verdict(verified), _verdict_for_people(verified, server))
    if not verified.ok:
        raise typer.Exit(NOT_SO)


@ledger.command(
    "checkpoint",
    epilog="Example: ristmik ledger checkpoint --server EE-SANDBOX/GOV/70000349/ss1"
    " > kept-elsewhere.note",
)
def checkpoint(
    *,
    server: ServerOption,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Print the newest checkpoint, a signed note, to be kept outside the server."""
    parts = find(directory)
    with reading(parts, parts.server(server)) as reader:
        newest = reader.newest_round()
    if newest is None:
        raise Refused(
            "CHECKPOINT_MISSING",
            f"{server} has closed no round yet: it closes one every second while it"
            " runs, so try again, or look with `ristmik doctor`",
        )
    note = newest.note.decode()
    if as_json:
        print_document(
            {
                "server": str(server),
                "round": newest.round,
                "size": newest.size,
                "root": newest.root.hex(),
                "closed_at": newest.closed_at.isoformat(),
                "note": note,
            }
        )
    else:
        # Verbatim: what is signed is what was printed.
        sys.stdout.write(note)
        sys.stdout.flush()


@ledger.command(
    "tail",
    epilog="Example: ristmik ledger tail --server EE-SANDBOX/GOV/70000349/ss1"
    " -n 20 --follow",
)
def tail(
    *,
    server: ServerOption,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on with entries as they come.")
    ] = False,
    lines: Annotated[
        int, typer.Option("-n", "--lines", min=0, help="How many to begin with.")
    ] = 10,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Print the newest entries, one on a line."""
    output = Output(as_json=as_json)
    parts = find(directory)
    with reading(parts, parts.server(server)) as reader:
        for entry in _entries(reader, lines, follow=follow):
            output.result(entry_document(entry), _line(entry))


@ledger.command(
    "erase",
    epilog="Example: ristmik ledger erase --server EE-SANDBOX/GOV/70000349/ss1 4 5"
    " --reason 'retention has ended'",
)
def erase(
    entries: Annotated[
        list[int], typer.Argument(metavar="ENTRY…", min=0, help="Their numbers.")
    ],
    *,
    server: ServerOption,
    reason: Annotated[str, typer.Option("--reason", help="Why; it is recorded.")],
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Erase the content of entries: what they opened goes, their proofs stay."""
    part = find(directory).server(server)
    request = EraseEntriesRequest(entries=entries, reason=reason)
    with administration(part) as stub:
        answer = ask(stub.EraseEntries, request, of=str(server))
    Output(as_json=as_json).result(
        {
            "server": str(server),
            "entries": entries,
            "erasure_entry": answer.erasure_entry,
            "openings": answer.openings,
        },
        f"{answer.openings} openings of {len(entries)} entries are erased;"
        f" entry {answer.erasure_entry} says so",
    )


@contextmanager
def reading(parts: Parts, server: ServerPart) -> "Iterator[LedgerReader]":
    """Read a server's ledger as its reader role, whether the server runs or not."""
    # alembic and SQLAlchemy come with it, and take longer than all else together.
    import psycopg  # noqa: PLC0415

    from ledger.store import LedgerReader  # noqa: PLC0415

    try:
        reader = LedgerReader.connect(server.reader_dsn)
        try:
            yield reader
        finally:
            reader.close()
    except psycopg.OperationalError as error:
        reason = " ".join(str(error).split())
        raise OutOfReach(
            f"the database of {server.id} cannot be reached ({reason}): start the"
            f" instance with `ristmik up --dir {parts.directory}`"
        ) from error


def entry_document(entry: "LinkedEntry") -> Document:
    """Give an entry as JSON has it; null where it says nothing."""
    columns = entry.columns
    message_id, execution = columns.message_id, columns.execution or 0
    fault = fault_of(columns.fault_code, "", execution) if columns.fault_code else None
    return {
        "entry": entry.seq,
        "round": entry.round,
        "kind": kind_name(columns.kind),
        "recorded_at": columns.recorded_at.isoformat(),
        "message_id": None if message_id is None else str(message_id),
        "client": columns.client,
        "service": columns.service,
        "method": columns.method,
        "purpose": columns.purpose,
        "legal_basis": columns.legal_basis,
        "status": status_name(columns.status),
        "fault": fault and fault.code,
        "execution": fault and str(fault.execution),
        "row_hash": entry.row_hash.hex(),
    }


def kind_name(number: int) -> str:
    """Name the kind of an entry, also of one that somebody has edited."""
    from ledger.record import Kind  # noqa: PLC0415 - see `reading`

    names = {kind.value: kind.name for kind in Kind}
    return names.get(number, str(number))


def status_name(number: int | None) -> str | None:
    names = {status.value[0]: status.name for status in grpc.StatusCode}
    return None if number is None else names.get(number, str(number))


def _verdict(verified: "Verification") -> Document:
    bad = verified.first_bad
    return {
        "ok": verified.ok,
        "entries": verified.entries,
        "rounds": verified.rounds,
        "first_bad": bad
        and {
            "entry": bad.entry,
            "code": str(bad.code),
            "caught_by": str(bad.caught_by),
        },
    }


def _verdict_for_people(verified: "Verification", server: SecurityServerId) -> str:
    counted = f"{verified.entries} entries in {verified.rounds} rounds"
    if verified.first_bad is not None:
        bad = verified.first_bad
        return (
            f"FAILED: {server}, entry {bad.entry}: {bad.code}, caught by"
            f" {bad.caught_by} ({bad.detail}); {counted}"
        )
    said = "OK" if verified.ok else "INCONCLUSIVE"
    return (
        f"{said}: {server}, {counted}; {verified.time_stamped} of them time-stamped,"
        f" content of {verified.erased} erased"
    )


def _entries(
    reader: "LedgerReader", lines: int, *, follow: bool
) -> "Iterator[LinkedEntry]":
    size = reader.size()
    first = max(0, size - lines)
    while first < size or follow:
        page = reader.entries(first, min(first + PAGE, size))
        yield from page
        first += len(page)
        if first >= size and follow:
            time.sleep(POLL_S)
            size = reader.size()


def _line(entry: "LinkedEntry") -> str:
    found = entry_document(entry)
    when = entry.columns.recorded_at.isoformat(timespec="milliseconds")
    said = [str(found[key]) for key in ("client", "service", "method") if found[key]]
    words = [f"{entry.seq:>8}", when, f"{found['kind']:<17}", *said]
    if found["fault"]:
        words.append(f"{found['fault']}, {found['execution']}")
    return "  ".join(words)
