"""A caller's metadata: what it says to the bus, and what it says to the service. Pure.

Keys that start with `ristmik-` are the bus's. A caller's are read here and go no
further as metadata; each server sets its own. Their values are UTF-8, percent-encoded
where HTTP/2 cannot carry them. What is missing, malformed or repeated is
METADATA_INVALID; a key the bus does not know is dropped.

All else belongs to the service and passes unchanged, but for what gRPC sets itself on
each hop.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar
from urllib.parse import quote, unquote_to_bytes

from ledger.record import new_record_id
from messaging.envelope import Metadata, PurposeBlock, Request
from messaging.limits import require_small_metadata
from vocabulary.faults import MetadataInvalid
from vocabulary.identifiers import (
    MemberId,
    ServiceId,
    SubsystemId,
    parse_message_id,
    parse_person,
)

# As grpcio gives and takes it: bytes under keys that end in "-bin", else text.
GrpcMetadata: TypeAlias = tuple[tuple[str, str | bytes], ...]
T = TypeVar("T")

PREFIX: Final = "ristmik-"
CLIENT: Final = "ristmik-client"
SERVICE: Final = "ristmik-service"
MESSAGE_ID: Final = "ristmik-message-id"
RECORD: Final = "ristmik-record"
PURPOSE: Final = "ristmik-purpose"
LEGAL_BASIS: Final = "ristmik-legal-basis"
SUBJECT: Final = "ristmik-subject"
CASE: Final = "ristmik-case"
REPRESENTED: Final = "ristmik-represented"
TRACE_PARENT: Final = "traceparent"

# Set anew by gRPC on each hop, or by HTTP/2.
_HOP_BY_HOP: Final = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-type",
        "host",
        "te",
        "transfer-encoding",
        "user-agent",
    }
)
# The keys that gRPC reserves and that applications use nevertheless.
_CARRIED: Final = frozenset(
    {"grpc-status-details-bin", "grpc-tags-bin", "grpc-trace-bin"}
)
_PERCENT_ENCODED: Final = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*")
_PRINTABLE_ASCII: Final = re.compile(rb"[ -~]*")
_KEY: Final = re.compile(r"[0-9a-z_.-]+")
# Printable ASCII but for the percent sign.
_CARRIED_AS_IS: Final = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
# W3C Trace Context §3.2: version, trace id, parent id, flags, what came later.
_TRACE: Final = re.compile(
    r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?"
)


@dataclass(frozen=True, slots=True)
class Named:
    """Who asks what of whom."""

    service: ServiceId
    message_id: str


class CallerMetadata:
    """What one call came with."""

    def __init__(self, received: Iterable[tuple[str, str | bytes]]) -> None:
        self._received = tuple((key, value) for key, value in received)
        self._ours: dict[str, list[str]] = {}
        for key, value in self._received:
            if isinstance(value, str):
                self._ours.setdefault(key, []).append(value)

    def require_small(self) -> None:
        """Raise LimitExceeded by name."""
        require_small_metadata(self._received)

    def client(self) -> SubsystemId:
        return self._one(CLIENT, SubsystemId.parse)

    def named(self) -> Named:
        """Give the service asked for; a message id is made where there is none."""
        service = self._one(SERVICE, ServiceId.parse)
        message_id = self._one_or_none(MESSAGE_ID, parse_message_id)
        return Named(service, message_id or new_message_id())

    def purpose_block(self) -> PurposeBlock:
        subjects = (
            _read(SUBJECT, value, parse_person) for value in self._ours.get(SUBJECT, ())
        )
        # ristmik-official is not in it: who asked stays with the consumer.
        return PurposeBlock(
            purpose=self._one_or_none(PURPOSE, str) or "",
            legal_basis=self._one_or_none(LEGAL_BASIS, str) or "",
            subjects=tuple(dict.fromkeys(subjects)),
            case=self._one_or_none(CASE, str) or None,
        )

    def represented(self) -> MemberId | None:
        return self._one_or_none(REPRESENTED, MemberId.parse)

    def trace_id(self) -> bytes:
        """Give the 16 octets of the trace this call belongs to, or none."""
        return self._one_or_none(TRACE_PARENT, _trace_id) or b""

    def of_the_service(self) -> Metadata:
        return from_grpc(self._received)

    def _one(self, key: str, parse: Callable[[str], T]) -> T:
        value = self._one_or_none(key, parse)
        if value is None:
            raise MetadataInvalid(f"metadata {key} is missing: add it to the call")
        return value

    def _one_or_none(self, key: str, parse: Callable[[str], T]) -> T | None:
        values = self._ours.get(key, ())
        if len(values) > 1:
            raise MetadataInvalid(f"metadata {key} is there {len(values)} times: once")
        return _read(key, values[0], parse) if values else None


def from_grpc(received: Iterable[tuple[str, str | bytes]]) -> Metadata:
    """Keep what is the service's own; MetadataInvalid if HTTP/2 would not carry it."""
    return tuple(
        (key, _octets(key, value)) for key, value in received if not _is_of_the_hop(key)
    )


def to_grpc(metadata: Metadata) -> GrpcMetadata:
    """Spell it for grpcio, again without what is not the service's own.

    It comes from another server: MetadataInvalid if gRPC would not take it.
    """
    return tuple(
        (_key(key), value if key.endswith("-bin") else _text(key, value))
        for key, value in metadata
        if not _is_of_the_hop(key)
    )


def identities_to_grpc(request: Request) -> GrpcMetadata:
    """Say who asks, verified, in the bus's own keys."""
    named, block = request.identities, request.purpose_block
    said: Mapping[str, str | None] = {
        CLIENT: str(named.client),
        SERVICE: str(named.service),
        MESSAGE_ID: named.message_id,
        PURPOSE: block.purpose,
        LEGAL_BASIS: block.legal_basis,
        CASE: block.case,
        REPRESENTED: str(request.represented) if request.represented else None,
    }
    once = ((key, _encoded(value)) for key, value in said.items() if value)
    return (*once, *((SUBJECT, subject) for subject in block.subjects))


def new_message_id() -> str:
    octets = new_record_id().hex()
    return "-".join(
        (octets[:8], octets[8:12], octets[12:16], octets[16:20], octets[20:])
    )


def _read(key: str, value: str, parse: Callable[[str], T]) -> T:
    try:
        return parse(_decoded(value))
    except ValueError as error:
        raise MetadataInvalid(
            f"metadata {key} is malformed: {error}; mend it and call again"
        ) from error


def _decoded(value: str) -> str:
    if not _PERCENT_ENCODED.fullmatch(value):
        raise ValueError("a percent sign that is not followed by two hex digits")
    text = unquote_to_bytes(value).decode()
    if not text.isprintable():
        raise ValueError("characters that cannot be printed")
    return text


def _trace_id(text: str) -> bytes:
    match = _TRACE.fullmatch(text)
    if match:
        version, trace_id, parent_id, added = match.groups()
        known = version != "ff" and not (version == "00" and added)
        if known and trace_id.strip("0") and parent_id.strip("0"):
            return bytes.fromhex(trace_id)
    raise ValueError("not a W3C trace context")


def _key(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise MetadataInvalid(f"{key[:64]!r} is no key of metadata: use a-z, 0-9, _.-")
    return key


def _octets(key: str, value: str | bytes) -> bytes:
    if isinstance(value, bytes):
        return value
    return _text(key, value.encode()).encode()


def _text(key: str, value: bytes) -> str:
    if not _PRINTABLE_ASCII.fullmatch(value):
        raise MetadataInvalid(
            f"metadata {key[:64]!r} is not printable ASCII: send it under a key that "
            'ends in "-bin"'
        )
    return value.decode("ascii")


def _is_of_the_hop(key: str) -> bool:
    if key.startswith(("grpc-", PREFIX, ":")):
        return key not in _CARRIED
    return key in _HOP_BY_HOP


def _encoded(text: str) -> str:
    """Percent-encode what HTTP/2 cannot carry: outer blanks, and all but ASCII."""
    blank = "" if text == text.strip(" ") else " "
    return quote(
        text, safe=_CARRIED_AS_IS.replace(blank, "") if blank else _CARRIED_AS_IS
    )
