"""What keeps a sandbox instance from running, in words for its operator.

These never cross the wire, so they are no Faults. Each detail says what was wrong and
what to do.
"""

from typing import ClassVar

from cli.failures import INTERRUPTED, NOT_SO, OUT_OF_REACH, CommandFailure


class SandboxFailure(CommandFailure):
    """Base of what ends a command that starts, finds or stops an instance."""

    status: ClassVar[int] = OUT_OF_REACH
    name: ClassVar[str]

    def __init__(self, detail: str) -> None:
        super().__init__(self.name, detail)


class PostgresUnusable(SandboxFailure):
    """A private PostgreSQL that cannot be started, or a DSN that cannot be used."""

    name = "POSTGRES_UNUSABLE"


class DirectoryUnusable(SandboxFailure):
    """A directory that belongs to somebody else, is in use, or cannot be reached."""

    name = "DIRECTORY_UNUSABLE"


class ProgramFailed(SandboxFailure):
    """A program of the instance that ended, or never came to answer."""

    status = NOT_SO
    name = "PROGRAM_FAILED"


class Interrupted(SandboxFailure):
    """A start that was called off before it was done."""

    status = INTERRUPTED
    name = "INTERRUPTED"
