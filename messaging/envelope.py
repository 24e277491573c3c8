"""What is said, before anyone has signed it."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeAlias

from vocabulary.identifiers import MemberId, SecurityServerId, ServiceId, SubsystemId

# Application metadata in its order; a key may repeat. Values of keys that do not end
# in "-bin" are ASCII.
Metadata: TypeAlias = tuple[tuple[str, bytes], ...]


class DisclosureClass(IntEnum):
    """Whether the persons concerned see the entry at once, or when its class allows."""

    OPEN = 1
    WITHHELD = 2


@dataclass(frozen=True, slots=True)
class Identities:
    """Who asks whom for what: the same in every part of one exchange."""

    message_id: str
    client: SubsystemId
    service: ServiceId
    # "population.v1.PersonRegistry/GetPerson": no leading slash.
    method: str
    consumer_server: SecurityServerId
    provider_server: SecurityServerId


@dataclass(frozen=True, slots=True)
class PurposeBlock:
    """Why a personal service is called, and about whom.

    Purpose and legal basis are codes from the instance's lists, empty on a service that
    is not personal. Persons are semantic identifiers (`PNOEE-…`).
    """

    purpose: str = ""
    legal_basis: str = ""
    subjects: tuple[str, ...] = ()
    case: str | None = None
    official: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A client subsystem asking one service for something."""

    identities: Identities
    body: bytes
    purpose_block: PurposeBlock = field(default_factory=PurposeBlock)
    metadata: Metadata = ()
    represented: MemberId | None = None
    # W3C trace id: 16 octets, or none.
    trace_id: bytes = b""
    disclosure_class: DisclosureClass = DisclosureClass.OPEN


@dataclass(frozen=True, slots=True)
class Response:
    """What the service answered: one message or none, and its gRPC status."""

    status: int
    body: bytes | None
    message: str = ""
    initial_metadata: Metadata = ()
    # Trailing metadata, `grpc-status-details-bin` included.
    trailing_metadata: Metadata = ()
    # Persons found in the body by the service's registration.
    subjects: tuple[str, ...] = ()
