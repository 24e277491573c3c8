"""A registration that was asked for, and what became of it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Kind(StrEnum):
    MEMBER = "MEMBER"
    SUBSYSTEM = "SUBSYSTEM"
    SERVER = "SERVER"


class State(StrEnum):
    WAITING = "WAITING"
    APPROVED = "APPROVED"
    REJECTED = "REJECTED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked for; what its kind has no use for, or leaves as it is, is empty.

    `subject` is the identifier of the member, subsystem or server.
    """

    kind: Kind
    subject: str
    # The name of a member.
    name: str = ""
    # The server that is to carry a subsystem.
    server: str = ""
    address: str = ""
    certificate: bytes = b""
    checkpoint_key: str = ""


@dataclass(frozen=True, slots=True)
class RegistrationRequest:
    number: int
    asked: Asked
    state: State
    asked_at: datetime
    decided_at: datetime | None = None
    reason: str = ""
