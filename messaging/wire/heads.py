"""Heads and fields of parts: our types to the bytes that are signed, and back.

Decoding starts from bytes that were verified. A head that does not say what its type
demands is HEAD_INVALID; fields that it does not commit to, or in another order or
number than its type takes, are FIELDS_INVALID.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TypeVar

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from ledger.fields import Field, Tag, fields_root
from messaging.envelope import (
    DisclosureClass,
    Identities,
    Metadata,
    PurposeBlock,
    Request,
    Response,
)
from messaging.parts import (
    Close,
    Direction,
    Link,
    Open,
    Part,
    PartReference,
    PartType,
    Refusal,
    Totals,
)
from messaging.wire.faults import code_number, execution_number, fault_of
from messaging.wire.identifiers import (
    member_from_pb,
    member_to_pb,
    server_from_pb,
    server_to_pb,
    service_from_pb,
    service_to_pb,
    subsystem_from_pb,
    subsystem_to_pb,
)
from protos.v1 import exchange_pb2
from vocabulary.faults import Fault, FieldsInvalid, HeadInvalid
from vocabulary.identifiers import parse_message_id, parse_person
from vocabulary.imprint import Imprint

T = TypeVar("T")
_TRACE_ID_OCTETS = 16


@contextmanager
def _invalid_is(fault: type[Fault]) -> Iterator[None]:
    try:
        yield
    except (DecodeError, OverflowError, ValueError) as error:
        raise fault(f"{error}; the sender's server has to be mended") from error


def encode_open(opened: Open) -> Part:
    request = opened.request
    block = request.purpose_block
    fields = (
        Field.salted(Tag.BODY, request.body),
        *_texts(Tag.SUBJECT, block.subjects),
        *_texts(Tag.OFFICIAL, _some(block.official)),
        *_texts(Tag.CASE, _some(block.case)),
        *_metadata_fields(Tag.REQUEST_METADATA, request.metadata),
    )
    head = exchange_pb2.Open(
        identities=identities_to_pb(request.identities),
        issued_at=_timestamp(opened.issued_at),
        fields_root=fields_root(fields),
        purpose=block.purpose,
        legal_basis=block.legal_basis,
        disclosure_class=exchange_pb2.DisclosureClass.ValueType(
            request.disclosure_class
        ),
        represented=member_to_pb(request.represented) if request.represented else None,
        trace_id=request.trace_id,
    )
    return Part(PartType.OPEN, head.SerializeToString(), fields)


@_invalid_is(HeadInvalid)
def decode_open(part: Part) -> Open:
    pb = exchange_pb2.Open.FromString(part.head)
    if pb.more_follow:
        raise ValueError("more parts are announced than a unary exchange has")
    if len(pb.trace_id) not in {0, _TRACE_ID_OCTETS}:
        raise ValueError("a trace id has 16 octets")
    held = _Held(part, pb.fields_root)
    block = PurposeBlock(
        purpose=pb.purpose,
        legal_basis=pb.legal_basis,
        subjects=held.all(Tag.SUBJECT, _person),
        official=held.one_or_none(Tag.OFFICIAL, bytes.decode),
        case=held.one_or_none(Tag.CASE, bytes.decode),
    )
    request = Request(
        identities_from_pb(pb.identities),
        body=held.one(Tag.BODY, bytes),
        purpose_block=block,
        metadata=held.one_or_none(Tag.REQUEST_METADATA, _metadata) or (),
        represented=member_from_pb(pb.represented)
        if pb.HasField("represented")
        else None,
        trace_id=pb.trace_id,
        disclosure_class=DisclosureClass(pb.disclosure_class),
    )
    held.require_all_read()
    return Open(request, pb.issued_at.ToDatetime(tzinfo=UTC))


def encode_close(close: Close) -> Part:
    link, seen, response = close.link, close.last_request_part, close.response
    fields = (
        *_salted(Tag.BODY, _some(response.body)),
        *_texts(Tag.SUBJECT, response.subjects),
        *_metadata_fields(Tag.INITIAL_METADATA, response.initial_metadata),
        *_metadata_fields(Tag.TRAILING_METADATA, response.trailing_metadata),
        *_texts(Tag.STATUS_MESSAGE, _some(response.message or None)),
    )
    head = exchange_pb2.Close(
        identities=identities_to_pb(close.identities),
        issued_at=_timestamp(close.issued_at),
        fields_root=fields_root(fields),
        link=exchange_pb2.Link(
            open_imprint=link.open_imprint.octets,
            direction=exchange_pb2.Direction.ValueType(link.direction),
            number=link.number,
            previous_imprint=link.previous.octets if link.previous else b"",
        ),
        last_request_part=exchange_pb2.PartReference(
            number=seen.number, imprint=seen.imprint.octets
        ),
        status=response.status,
        request_totals=_totals_to_pb(close.request_totals),
        response_totals=_totals_to_pb(close.response_totals),
    )
    return Part(PartType.CLOSE, head.SerializeToString(), fields)


@_invalid_is(HeadInvalid)
def decode_close(part: Part) -> Close:
    pb = exchange_pb2.Close.FromString(part.head)
    held = _Held(part, pb.fields_root)
    response = Response(
        pb.status,
        held.one_or_none(Tag.BODY, bytes),
        held.one_or_none(Tag.STATUS_MESSAGE, bytes.decode) or "",
        held.one_or_none(Tag.INITIAL_METADATA, _metadata) or (),
        held.one_or_none(Tag.TRAILING_METADATA, _metadata) or (),
        held.all(Tag.SUBJECT, _person),
    )
    held.require_all_read()
    return Close(
        identities=identities_from_pb(pb.identities),
        issued_at=pb.issued_at.ToDatetime(tzinfo=UTC),
        link=Link(
            Imprint.parse(pb.link.open_imprint),
            Direction(pb.link.direction),
            pb.link.number,
            _imprint_or_none(pb.link.previous_imprint),
        ),
        last_request_part=PartReference(
            pb.last_request_part.number, Imprint.parse(pb.last_request_part.imprint)
        ),
        request_totals=_totals_from_pb(pb.request_totals),
        response_totals=_totals_from_pb(pb.response_totals),
        response=response,
    )


def encode_refusal(said: Refusal) -> Part:
    fields = (
        *_texts(Tag.SUBJECT, said.subjects),
        *_texts(Tag.FAULT_DETAIL, (said.detail,)),
    )
    head = exchange_pb2.FaultHead(
        identities=identities_to_pb(said.identities) if said.identities else None,
        issued_at=_timestamp(said.issued_at),
        fields_root=fields_root(fields),
        origin=server_to_pb(said.origin),
        code=code_number(said.code),
        execution=execution_number(said.execution),
        refused_imprint=said.refused.octets if said.refused else b"",
        purpose=said.purpose,
        legal_basis=said.legal_basis,
        repeats=said.repeats,
    )
    return Part(PartType.FAULT, head.SerializeToString(), fields)


@_invalid_is(HeadInvalid)
def decode_refusal(part: Part) -> Refusal:
    pb = exchange_pb2.FaultHead.FromString(part.head)
    held = _Held(part, pb.fields_root)
    detail = held.one(Tag.FAULT_DETAIL, bytes.decode)
    subjects = held.all(Tag.SUBJECT, _person)
    held.require_all_read()
    fault = fault_of(pb.code, detail, pb.execution)
    named = pb.HasField("identities")
    return Refusal(
        issued_at=pb.issued_at.ToDatetime(tzinfo=UTC),
        origin=server_from_pb(pb.origin),
        code=fault.code,
        detail=fault.detail,
        execution=fault.execution,
        identities=identities_from_pb(pb.identities) if named else None,
        refused=_imprint_or_none(pb.refused_imprint),
        purpose=pb.purpose,
        legal_basis=pb.legal_basis,
        subjects=subjects,
        repeats=pb.repeats,
    )


def identities_to_pb(identities: Identities) -> exchange_pb2.Identities:
    return exchange_pb2.Identities(
        message_id=identities.message_id,
        client=subsystem_to_pb(identities.client),
        service=service_to_pb(identities.service),
        method=identities.method,
        consumer_server=server_to_pb(identities.consumer_server),
        provider_server=server_to_pb(identities.provider_server),
    )


def identities_from_pb(pb: exchange_pb2.Identities) -> Identities:
    return Identities(
        parse_message_id(pb.message_id),
        subsystem_from_pb(pb.client),
        service_from_pb(pb.service),
        pb.method,
        server_from_pb(pb.consumer_server),
        server_from_pb(pb.provider_server),
    )


class _Held:
    """The fields of one part, after they were found to be those its head commits to."""

    @_invalid_is(FieldsInvalid)
    def __init__(self, part: Part, root: bytes) -> None:
        if fields_root(part.fields) != root:
            raise ValueError("not the fields that the head commits to")
        self._values: dict[int, list[bytes]] = {}
        for field in part.fields:
            self._values.setdefault(field.tag, []).append(field.value)

    @_invalid_is(FieldsInvalid)
    def all(self, tag: Tag, parse: Callable[[bytes], T]) -> tuple[T, ...]:
        return tuple(parse(value) for value in self._values.pop(tag, ()))

    @_invalid_is(FieldsInvalid)
    def one(self, tag: Tag, parse: Callable[[bytes], T]) -> T:
        (value,) = self.all(tag, parse)
        return value

    @_invalid_is(FieldsInvalid)
    def one_or_none(self, tag: Tag, parse: Callable[[bytes], T]) -> T | None:
        return self.one(tag, parse) if tag in self._values else None

    def require_all_read(self) -> None:
        if self._values:
            raise FieldsInvalid(f"fields of tags {sorted(self._values)} have no place")


def _salted(tag: Tag, values: tuple[bytes, ...]) -> tuple[Field, ...]:
    return tuple(Field.salted(tag, value) for value in values)


def _texts(tag: Tag, values: tuple[str, ...]) -> tuple[Field, ...]:
    return tuple(Field.salted(tag, value.encode()) for value in values)


def _some(value: T | None) -> tuple[T, ...]:
    return () if value is None else (value,)


def _metadata_fields(tag: Tag, metadata: Metadata) -> tuple[Field, ...]:
    if not metadata:
        return ()
    entries = [exchange_pb2.MetadataEntry(key=k, value=v) for k, v in metadata]
    value = exchange_pb2.MetadataEntries(entries=entries).SerializeToString()
    return (Field.salted(tag, value),)


def _metadata(value: bytes) -> Metadata:
    entries = exchange_pb2.MetadataEntries.FromString(value).entries
    return tuple((entry.key, entry.value) for entry in entries)


def _person(value: bytes) -> str:
    return parse_person(value.decode())


def _imprint_or_none(octets: bytes) -> Imprint | None:
    return Imprint.parse(octets) if octets else None


def _totals_to_pb(totals: Totals) -> exchange_pb2.Totals:
    return exchange_pb2.Totals(messages=totals.messages, octets=totals.octets)


def _totals_from_pb(pb: exchange_pb2.Totals) -> Totals:
    return Totals(pb.messages, pb.octets)


def _timestamp(moment: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp
