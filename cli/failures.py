"""How a command ends when it is not done: one sentence with the cure, one exit status.

Under --json the same is one document on standard output:
`{"error": {"code": …, "detail": …}}`. The code is a fault's where a part of the
instance refused, and USAGE, UNREACHABLE or a gRPC status otherwise.
"""

from typing import ClassVar

DONE = 0
NOT_SO = 1
USAGE = 2
OUT_OF_REACH = 3
# As a shell has it of a program that SIGINT or SIGPIPE ended.
INTERRUPTED = 130
PIPE_CLOSED = 141


class CommandFailure(Exception):
    """Base of what ends a command."""

    status: ClassVar[int]

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class Refused(CommandFailure):
    """What was asked for was refused, or what was looked at is not so."""

    status = NOT_SO


class Misused(CommandFailure):
    """A command that makes no sense as it was given."""

    status = USAGE

    def __init__(self, detail: str) -> None:
        super().__init__("USAGE", detail)


class OutOfReach(CommandFailure):
    """The instance, or the part of it that the command needs, does not answer."""

    status = OUT_OF_REACH

    def __init__(self, detail: str, *, code: str = "UNREACHABLE") -> None:
        super().__init__(code, detail)
