"""`ristmik`: demo, administration, verification and diagnosis of an instance.

Exit codes: 0 done; 1 the thing checked is not so; 2 usage; 3 the instance or a part of
it cannot be reached.
"""

import os
import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.main import get_command

from cli.commands.access import access
from cli.commands.call import call
from cli.commands.certificate import certificates
from cli.commands.client import clients
from cli.commands.instance import down, up
from cli.commands.ledger import ledger
from cli.commands.member import members, subsystems
from cli.commands.requests import requests
from cli.commands.server import servers
from cli.commands.service import services
from cli.demo.command import demo
from cli.doctor.command import doctor
from cli.failures import (
    DONE,
    INTERRUPTED,
    PIPE_CLOSED,
    CommandFailure,
    Misused,
    OutOfReach,
    Refused,
)
from cli.output import Output, print_document
from vocabulary.faults import Fault, LedgerUnavailable

app = typer.Typer(
    name="ristmik",
    no_args_is_help=True,
    add_completion=False,
    help="A data-exchange bus for public administration.",
    epilog="Example: ristmik demo --keep",
)
app.command("demo", epilog="Example: ristmik demo --keep")(demo)
app.command("up", epilog="Example: ristmik up --dir ./.ristmik --json")(up)
app.command("down", epilog="Example: ristmik down --dir ./.ristmik")(down)
app.command("doctor", epilog="Example: ristmik doctor --dir ./.ristmik")(doctor)
app.add_typer(members, name="member")
app.add_typer(subsystems, name="subsystem")
app.add_typer(servers, name="server")
app.add_typer(requests, name="requests")
app.add_typer(clients, name="client")
app.add_typer(services, name="service")
app.add_typer(access, name="access")
app.add_typer(certificates, name="certificate")
app.add_typer(ledger, name="ledger")
app.command(
    "call",
    epilog="Example: ristmik call --client EE-SANDBOX/GOV/70000349/tax"
    " --service EE-SANDBOX/GOV/70008440/population/persons/v1 --purpose PURPOSE"
    " --legal-basis BASIS --subject PNOEE-38001085718"
    ' GetPerson \'{"person_id": "PNOEE-38001085718"}\'',
)(call)


def main() -> None:
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and give its exit status; what fails is one sentence."""
    try:
        return _ended(arguments)
    except (BrokenPipeError, SystemExit):
        # Only a closed pipe makes typer and rich leave this way. What was printed may
        # be cut, so this is no success; nothing is left to be flushed to the pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED


def _ended(arguments: Sequence[str]) -> int:
    try:
        status: Any = get_command(app).main(arguments, "ristmik", standalone_mode=False)
    except typer.Abort:
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - people get a sentence, never a traceback
        return _report(_failure(error), as_json="--json" in arguments)
    return status if isinstance(status, int) else DONE


def _failure(error: Exception) -> CommandFailure:
    match error:
        case CommandFailure():
            return error
        case LedgerUnavailable():
            return OutOfReach(error.detail, code=error.code)
        case Fault():
            return Refused(error.code, error.detail)
        case typer.TyperException():
            return Misused(_sentence(error))
        case _ if os.environ.get("RISTMIK_TRACEBACK"):
            raise error
        case _:
            return OutOfReach(
                f"a defect of this command ({type(error).__name__}: {error}): run it"
                " again with RISTMIK_TRACEBACK=1 and report what it prints",
                code="INTERNAL",
            )


def _report(failure: CommandFailure, *, as_json: bool) -> int:
    if failure.detail:
        Output(as_json=as_json).note(f"ristmik: {failure.detail}")
    if as_json:
        print_document({"error": {"code": failure.code, "detail": failure.detail}})
    return failure.status


def _sentence(error: typer.TyperException) -> str:
    """Give what typer found wrong with a command line, and where its help is."""
    context: typer.Context | None = getattr(error, "ctx", None)
    path = context.command_path if context else "ristmik"
    problem = error.format_message().rstrip(".")
    if not problem:
        # A group named without a command: typer has printed its help.
        return ""
    return f"{problem}; `{path} --help` shows how it is used"


if __name__ == "__main__":
    main()
