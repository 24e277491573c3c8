"""What can keep a sandbox instance from running, in words for its operator.

These never cross the wire, so they are no Faults. Each detail says what was wrong and
what to do; `exit_code` is what the command then ends with.
"""

from typing import ClassVar


class Failure(Exception):
    """Base of what ends a command that starts, finds or stops an instance."""

    exit_code: ClassVar[int] = 3

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class PostgresUnusable(Failure):
    """A private PostgreSQL that cannot be started, or a DSN that cannot be used."""


class DirectoryUnusable(Failure):
    """A directory that belongs to somebody else, or cannot be reached."""


class Interrupted(Failure):
    """A start that was called off before it was done."""

    exit_code: ClassVar[int] = 1
