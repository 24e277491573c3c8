"""`ristmik up` and `ristmik down`: the sandbox instance of one directory."""

from typing import Annotated

import typer

from cli.options import DEFAULT_DIRECTORY, AsJson, Directory


def up(
    *,
    keep_going: Annotated[
        bool,
        typer.Option("--keep-going", help="Let the others run on if a program dies."),
    ] = False,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> int:
    """Start the instance and stay in the foreground; a signal stops it."""
    # The supervisor brings all that it starts, which other commands need not wait for.
    from cli.sandbox import up as launcher  # noqa: PLC0415 - see above

    return launcher.up(directory, as_json=as_json, keep_going=keep_going)


def down(*, directory: Directory = DEFAULT_DIRECTORY, as_json: AsJson = False) -> int:
    """Stop the instance, also what a supervisor that was killed has left."""
    from cli.sandbox import up as launcher  # noqa: PLC0415 - see `up`

    return launcher.down(directory, as_json=as_json)
