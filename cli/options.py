"""Options that every command has, and identifiers as the command line takes them."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer

from vocabulary.identifiers import MemberId, SecurityServerId, ServiceId, SubsystemId

T = TypeVar("T")

DEFAULT_DIRECTORY: Final = Path(".ristmik")

Directory = Annotated[
    Path,
    typer.Option(
        "--dir", envvar="RISTMIK_DIR", metavar="DIR", help="Where the instance lives."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def parsed(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Make a parser whose ValueError is a usage error that names the argument."""

    def parser(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error

    return parser


MemberArgument = Annotated[
    MemberId,
    typer.Argument(
        parser=parsed(MemberId.parse),
        metavar="ID",
        help="Member: INSTANCE/CLASS/CODE.",
    ),
]
SubsystemArgument = Annotated[
    SubsystemId,
    typer.Argument(
        parser=parsed(SubsystemId.parse),
        metavar="ID",
        help="Subsystem: INSTANCE/CLASS/CODE/SUBSYSTEM.",
    ),
]
ServerArgument = Annotated[
    SecurityServerId,
    typer.Argument(
        parser=parsed(SecurityServerId.parse),
        metavar="ID",
        help="Security server: INSTANCE/CLASS/CODE/SERVER.",
    ),
]
ServiceArgument = Annotated[
    ServiceId,
    typer.Argument(
        parser=parsed(ServiceId.parse),
        metavar="SERVICE",
        help="Service: INSTANCE/CLASS/CODE/SUBSYSTEM/NAME/VERSION.",
    ),
]
ClientArgument = Annotated[
    SubsystemId,
    typer.Argument(
        parser=parsed(SubsystemId.parse),
        metavar="CLIENT",
        help="The subsystem that calls: INSTANCE/CLASS/CODE/SUBSYSTEM.",
    ),
]
ServerOption = Annotated[
    SecurityServerId,
    typer.Option(
        "--server",
        parser=parsed(SecurityServerId.parse),
        metavar="ID",
        help="Security server: INSTANCE/CLASS/CODE/SERVER.",
    ),
]
OptionalServer = Annotated[
    SecurityServerId | None,
    typer.Option(
        "--server",
        parser=parsed(SecurityServerId.parse),
        metavar="ID",
        help="Only this security server.",
    ),
]
