"""`ristmik demo`: one question between two agencies, and what tries to spoil it."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from cli.connection import find
from cli.demo.instance import instance_directory, running_instance
from cli.demo.narration import Narration
from cli.failures import CommandFailure
from cli.options import AsJson
from cli.output import Document, Output, print_document
from cli.parts import Parts


def demo(
    *,
    directory: Annotated[
        Path | None,
        typer.Option(
            "--dir",
            metavar="DIR",
            help="Where the instance lives; a temporary directory if not given.",
        ),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the instance running.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start an instance and tell the story of one question, each step verified."""
    output = Output(as_json=as_json)
    narration = Narration(on_stderr=as_json)
    failure: CommandFailure | None = None
    with (
        instance_directory(directory, keep=keep) as place,
        running_instance(place, output, keep=keep),
    ):
        parts = find(place.path)
        try:
            _tell(parts, narration)
        except CommandFailure as error:
            failure, place.is_left = error, True
    if as_json:
        print_document(_document(parts, narration, failure, kept=keep))
    if keep:
        narration.say(_how_to_go_on(parts))
    if failure is not None:
        output.note(f"ristmik: {failure.detail}; look at it in {parts.directory}")
        raise typer.Exit(failure.status)
    narration.say("\nEvery step did what it says.")


def _tell(parts: Parts, narration: Narration) -> None:
    # They read ledgers, whose libraries take long to import.
    from cli.demo.stage import Stage  # noqa: PLC0415 - see above
    from cli.demo.story import play  # noqa: PLC0415 - see above

    with tempfile.TemporaryDirectory(prefix="ristmik-kept-") as elsewhere:
        play(Stage(parts, narration, elsewhere=Path(elsewhere)))


def _document(
    parts: Parts, narration: Narration, failure: CommandFailure | None, *, kept: bool
) -> Document:
    error = failure and {"code": failure.code, "detail": failure.detail}
    return {
        "ok": failure is None,
        "dir": str(parts.directory),
        "kept": kept,
        "chapters": narration.document(),
        "error": error,
    }


def _how_to_go_on(parts: Parts) -> str:
    example, server = parts.example, parts.servers[0].id
    return f"""
The instance runs on in {parts.directory}. To go on:
  export RISTMIK_DIR={parts.directory}
  ristmik doctor
  ristmik call --client {example["client"]} \\
    --service {example["service"]} \\
    --subject {example["subject"]} --purpose {example["purpose"]} \\
    --legal-basis {example["legal_basis"]} \\
    {example["method"]} '{example["json"]}'
  ristmik ledger tail --server {server} --follow
  ristmik ledger verify --server {server}
  ristmik down"""
