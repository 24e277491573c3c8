"""What was found of one thing that was looked at."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether it is well, in a sentence; `cure` is a command, empty if it is well."""

    name: str
    ok: bool
    detail: str
    cure: str = ""
