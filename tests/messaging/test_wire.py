"""What is encoded is decoded the same; what was never encoded is refused."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.fields import Field, Tag, fields_root
from messaging.envelope import DisclosureClass, PurposeBlock, Request, Response
from messaging.parts import Close, Open, Part, PartType, Refusal
from messaging.transport import STATUS_OF, fault_of_status, refusal
from messaging.wire.faults import FAULTS, fault_from_pb, fault_to_pb
from messaging.wire.heads import (
    decode_close,
    decode_open,
    decode_refusal,
    encode_close,
    encode_open,
    encode_refusal,
)
from messaging.wire.summaries import summarise
from protos.v1 import exchange_pb2
from protos.v1.fault_pb2 import FaultCode
from tests.world import MARI, POPULATION_SERVER, TAX, request
from vocabulary.faults import (
    AccessDenied,
    Execution,
    Fault,
    FieldsInvalid,
    FrameUnexpected,
    HeadInvalid,
)
from vocabulary.imprint import Imprint

MOMENTS = st.integers(min_value=0, max_value=2**52).map(
    lambda microseconds: (
        datetime(2020, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    )
)
PERSONS = st.lists(
    st.from_regex(r"PNOEE-[0-9]{11}", fullmatch=True), max_size=4, unique=True
).map(tuple)
METADATA = st.lists(
    st.tuples(st.from_regex(r"[a-z][a-z0-9-]{0,9}", fullmatch=True), st.binary()),
    max_size=4,
).map(tuple)
BLOCKS = st.builds(
    PurposeBlock,
    purpose=st.text(max_size=20),
    legal_basis=st.text(max_size=20),
    subjects=PERSONS,
    case=st.none() | st.text(max_size=20),
    official=st.none() | st.text(max_size=20),
)
REQUESTS = st.builds(
    Request,
    identities=st.just(request().identities),
    body=st.binary(max_size=200),
    purpose_block=BLOCKS,
    metadata=METADATA,
    represented=st.none() | st.just(TAX.member),
    trace_id=st.sampled_from([b"", b"\5" * 16]),
    disclosure_class=st.sampled_from(DisclosureClass),
)
RESPONSES = st.builds(
    Response,
    status=st.integers(min_value=0, max_value=16),
    body=st.none() | st.binary(max_size=200),
    message=st.text(max_size=20),
    initial_metadata=METADATA,
    trailing_metadata=METADATA,
    subjects=PERSONS,
)


@given(REQUESTS, MOMENTS)
def test_an_open_is_decoded_as_it_was_encoded(said, moment):
    opened = Open(said, moment)
    part = encode_open(opened)
    assert decode_open(part) == opened
    summary = summarise(part.recorded)
    assert summary.fields_root == fields_root(part.fields)
    assert (summary.issued_at, summary.client) == (moment, str(TAX))
    assert summary.signer == str(TAX.member)


@given(RESPONSES, MOMENTS)
def test_a_close_is_decoded_as_it_was_encoded(response, moment):
    opened = encode_open(Open(request(), moment))
    close = Close.answering(opened, request(), response, moment)
    assert decode_close(encode_close(close)) == close


@given(st.sampled_from(sorted(FAULTS)), st.text(max_size=50), PERSONS)
def test_a_refusal_is_decoded_as_it_was_encoded(code, detail, persons):
    said = Refusal(
        datetime(2026, 1, 1, tzinfo=UTC),
        POPULATION_SERVER,
        code,
        detail,
        Execution.EXECUTED,
        refused=Imprint.of(b"it"),
        subjects=persons,
        repeats=3,
    )
    assert decode_refusal(encode_refusal(said)) == said


def test_a_head_says_nothing_that_is_personal():
    said = request(body=b"secret of Mari")
    head = encode_open(Open(said, datetime(2026, 1, 1, tzinfo=UTC))).head
    for personal in (MARI.encode(), b"secret", b"case 7"):
        assert personal not in head


def with_fields(*fields):
    """An OPEN whose head commits to just these."""
    part = encode_open(Open(request(), datetime(2026, 1, 1, tzinfo=UTC)))
    head = exchange_pb2.Open.FromString(part.head)
    head.fields_root = fields_root(fields)
    return Part(PartType.OPEN, head.SerializeToString(), fields)


BODY = Field.salted(Tag.BODY, b"who")


@pytest.mark.parametrize(
    "fields",
    [
        (),
        (BODY, BODY),
        (BODY, Field.salted(Tag.STATUS_MESSAGE, b"not of an OPEN")),
        (BODY, Field(99, b"\0" * 32, b"unknown")),
        (BODY, Field.salted(Tag.SUBJECT, b"Mari")),
        (BODY, Field.salted(Tag.CASE, b"\xff")),
        (BODY, Field.salted(Tag.REQUEST_METADATA, b"\xff")),
    ],
    ids=["none", "two bodies", "foreign", "unknown", "no person", "no text", "no pb"],
)
def test_fields_that_an_open_does_not_take_are_refused(fields):
    with pytest.raises(FieldsInvalid):
        decode_open(with_fields(*fields))


@pytest.mark.parametrize(
    "change",
    [
        {"more_follow": True},
        {"trace_id": b"short"},
        {"disclosure_class": 0},
        {"identities": exchange_pb2.Identities()},
    ],
    ids=str,
)
def test_a_head_that_does_not_say_what_an_open_does_is_refused(change):
    part = encode_open(Open(request(), datetime(2026, 1, 1, tzinfo=UTC)))
    head = exchange_pb2.Open.FromString(part.head)
    for name in change:
        head.ClearField(name)
    head.MergeFrom(exchange_pb2.Open(**change))
    with pytest.raises(HeadInvalid):
        decode_open(Part(PartType.OPEN, head.SerializeToString(), part.fields))


def test_every_fault_has_one_number_one_class_and_one_status():
    numbered = set(FaultCode.keys()) - {"FAULT_CODE_UNSPECIFIED"}
    assert {f"FAULT_CODE_{code}" for code in FAULTS} == numbered
    assert len(FAULTS) == len(Fault.__subclasses__())
    assert set(STATUS_OF) == set(FAULTS)


@pytest.mark.parametrize("code", FAULTS)
def test_a_fault_arrives_as_the_same_class(code):
    fault = FAULTS[code]("what to do")
    fault.execution, fault.origin = Execution.NOT_EXECUTED, POPULATION_SERVER
    fault.refused = Imprint.of(b"it")
    again = fault_from_pb(fault_to_pb(fault))
    assert type(again) is type(fault)
    assert vars(again) == vars(fault)


def test_a_fault_of_a_newer_peer_is_one_we_cannot_read():
    pb = fault_to_pb(AccessDenied("no"))
    pb.code = 9999
    assert isinstance(fault_from_pb(pb), FrameUnexpected)


def test_a_refusal_names_its_origin_and_gives_the_fault_back():
    ended = refusal(AccessDenied("ask for it"), origin=POPULATION_SERVER)
    trailers = dict(ended.trailers)
    assert trailers["ristmik-origin"] == str(POPULATION_SERVER)
    fault = fault_of_status(ended.trailers)
    assert isinstance(fault, AccessDenied)
    assert (fault.detail, fault.origin) == ("ask for it", POPULATION_SERVER)
    for octets in (b"", b"\xff\xff"):
        assert fault_of_status((("grpc-status-details-bin", octets),)) is None


def test_identities_are_the_same_in_every_part():
    said = replace(request(), metadata=(("a", b"b"),))
    opened = encode_open(Open(said, datetime(2026, 1, 1, tzinfo=UTC)))
    assert decode_open(opened).request.identities == said.identities
