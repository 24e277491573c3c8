"""What a head says of itself without its fields, for the ledger's query columns."""

from collections.abc import Callable
from dataclasses import fields
from datetime import UTC

from google.protobuf.message import DecodeError

from ledger.record import HeadSummary, RecordedPart
from messaging.envelope import Identities
from messaging.parts import Direction, PartType
from messaging.wire.faults import FAULTS
from messaging.wire.heads import identities_from_pb
from messaging.wire.identifiers import server_from_pb
from protos.v1 import exchange_pb2, fault_pb2


def summarise(part: RecordedPart) -> HeadSummary:
    """Raise ValueError for a head of unknown type or one that cannot be read."""
    try:
        return _SUMMARIES[PartType(part.type)](part.head)
    except DecodeError as error:
        raise ValueError(f"head of {part.type}: {error}") from error


def _open(head: bytes) -> HeadSummary:
    pb = exchange_pb2.Open.FromString(head)
    identities = identities_from_pb(pb.identities)
    return HeadSummary(
        **_named(identities),
        direction=Direction.REQUEST,
        part=0,
        purpose=pb.purpose,
        legal_basis=pb.legal_basis,
        status=0,
        issued_at=pb.issued_at.ToDatetime(tzinfo=UTC),
        fields_root=pb.fields_root,
        signer=str(identities.client.member),
    )


def _close(head: bytes) -> HeadSummary:
    pb = exchange_pb2.Close.FromString(head)
    identities = identities_from_pb(pb.identities)
    return HeadSummary(
        **_named(identities),
        direction=pb.link.direction,
        part=pb.link.number,
        purpose="",
        legal_basis="",
        status=pb.status,
        issued_at=pb.issued_at.ToDatetime(tzinfo=UTC),
        fields_root=pb.fields_root,
        signer=str(identities.service.provider.member),
    )


def _fault(head: bytes) -> HeadSummary:
    pb = exchange_pb2.FaultHead.FromString(head)
    named = pb.HasField("identities")
    code = fault_pb2.FaultCode.Name(pb.code).removeprefix("FAULT_CODE_")
    if code not in FAULTS:
        raise ValueError(f"fault {pb.code} has no name here")
    return HeadSummary(
        **_named(identities_from_pb(pb.identities) if named else None),
        direction=Direction.RESPONSE,
        part=0,
        purpose=pb.purpose,
        legal_basis=pb.legal_basis,
        status=0,
        issued_at=pb.issued_at.ToDatetime(tzinfo=UTC),
        fields_root=pb.fields_root,
        signer=str(server_from_pb(pb.origin).owner),
    )


_SUMMARIES: dict[PartType, Callable[[bytes], HeadSummary]] = {
    PartType.OPEN: _open,
    PartType.CLOSE: _close,
    PartType.FAULT: _fault,
}


def _named(identities: Identities | None) -> dict[str, str]:
    return {
        name: str(getattr(identities, name)) if identities else "" for name in _NAMES
    }


_NAMES = tuple(each.name for each in fields(Identities))
