"""Each check of messaging/verification.py, broken once."""

from dataclasses import replace
from datetime import timedelta

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from ledger.fields import Field, Tag
from messaging.envelope import Response
from messaging.parts import Close, Part, PartType, Refusal
from messaging.verification import Delivered, VerifiedFault, Verifier
from messaging.wire.parts import part_from_pb, part_to_pb
from protos.v1 import exchange_pb2
from security_server.signer import SignedRequest
from tests.pki import Pki
from tests.world import (
    MARI,
    NOW,
    POPULATION,
    POPULATION_SERVER,
    TAX,
    TAX_SERVER,
    Party,
    World,
    clock,
    delivered,
    request,
    sign,
)
from vocabulary.faults import (
    AccessDenied,
    CertificateInvalid,
    CertificateStatusUnknown,
    ConfigurationExpired,
    Execution,
    Fault,
    FieldsInvalid,
    FrameUnexpected,
    HeadInvalid,
    NotRegistered,
    OutsideAcceptanceWindow,
    PartUnexpected,
    PeerMismatch,
    ReferenceUnknown,
    ResponseInconsistent,
    SignatureInvalid,
    SignerMismatch,
)
from vocabulary.identifiers import SecurityServerId, SubsystemId
from vocabulary.imprint import Imprint

WORLD = World()
GOOD = WORLD.opened(request())
OTHER_SERVER = SecurityServerId(TAX.member, "ss2")


def answer_to(opened, response=None, issued_at=NOW):
    response = response or Response(0, b"an answer", subjects=(MARI,))
    return Close.answering(opened.part, request(), response, issued_at)


def refusal_of(opened, **changed):
    said = Refusal(
        issued_at=NOW,
        origin=POPULATION_SERVER,
        code="ACCESS_DENIED",
        detail="ask for a right",
        execution=Execution.NOT_EXECUTED,
        identities=request().identities,
        refused=opened.part.imprint,
    )
    return replace(said, **changed)


def verify_request(message, peer=TAX_SERVER, world=WORLD):
    verifier = Verifier(POPULATION_SERVER, world.registry, world.signers, clock)
    return verifier.verify_request(delivered(message, peer))


def verify_response(message, peer=POPULATION_SERVER, to=GOOD, world=WORLD):
    verifier = Verifier(TAX_SERVER, world.registry, world.signers, clock)
    asked = SignedRequest(request(), to)
    return verifier.verify_response(delivered(message, peer), to=asked)


def relabelled(message, type_):
    part = message.part
    return replace(message, part=Part(type_, part.head, part.fields))


def with_fields(message, *fields):
    part = message.part
    return replace(message, part=Part(part.type, part.head, fields))


def signed_head(head):
    """A head of any content, signed by the tax board."""
    credential = WORLD.tax.credential()
    WORLD.signers.learn(credential.evidence)
    return sign(Part(PartType.OPEN, head, ()), credential)


def test_a_good_request_and_its_answer_are_believed():
    assert verify_request(GOOD).request == request()
    verified = verify_response(WORLD.closed(answer_to(GOOD)))
    assert verified.response == Response(0, b"an answer", subjects=(MARI,))


def foreign_ca():
    stranger = Party(Pki(clock), TAX.member, TAX_SERVER)
    return WORLD.opened(request(), credential=stranger.credential())


def stapled_to_nothing():
    return replace(GOOD, evidence=replace(GOOD.evidence, ocsp=None))


def never_sent():
    certificate = b"\0" * 32
    return replace(GOOD, evidence=replace(GOOD.evidence, certificate=certificate))


def stale():
    credential = WORLD.tax.credential()
    old = WORLD.pki.ocsp(
        credential.certificate,
        this_update=NOW - timedelta(hours=2),
        validity=timedelta(days=1),
    )
    status = replace(credential.status, der=old, response=Imprint.of(old))
    return WORLD.opened(request(), credential=replace(credential, status=status))


REFUSED_REQUESTS = {
    "a signed response": (WORLD.closed(answer_to(GOOD)), PartUnexpected),
    "the same, renamed": (
        relabelled(WORLD.closed(answer_to(GOOD)), PartType.OPEN),
        SignatureInvalid,
    ),
    "a certificate of another CA": (foreign_ca(), CertificateInvalid),
    "a certificate never sent": (never_sent(), ReferenceUnknown),
    "no certificate status": (stapled_to_nothing(), CertificateStatusUnknown),
    "a stale certificate status": (stale(), CertificateStatusUnknown),
    "another member's key": (
        WORLD.opened(request(), credential=WORLD.population.credential()),
        SignerMismatch,
    ),
    "another body": (
        with_fields(GOOD, Field.salted(Tag.BODY, b"me"), *GOOD.part.fields[1:]),
        FieldsInvalid,
    ),
    "fields out of order": (with_fields(GOOD, *GOOD.part.fields[::-1]), FieldsInvalid),
    # Its signature has been believed by then: erased fields leave that provable.
    "erased fields": (with_fields(GOOD), FieldsInvalid),
    "not protobuf": (signed_head(b"\xff"), HeadInvalid),
    "an empty head": (signed_head(b""), FieldsInvalid),
    "meant for another": (
        WORLD.opened(request(provider_server=TAX_SERVER)),
        PeerMismatch,
    ),
    "a client not registered there": (
        WORLD.opened(request(client=SubsystemId(TAX.member, "toll"))),
        NotRegistered,
    ),
    "too old": (
        WORLD.opened(request(), NOW - timedelta(minutes=6, seconds=1)),
        OutsideAcceptanceWindow,
    ),
    "not yet": (
        WORLD.opened(request(), NOW + timedelta(seconds=61)),
        OutsideAcceptanceWindow,
    ),
}


@pytest.mark.parametrize("broken", REFUSED_REQUESTS)
def test_a_request_is_refused_before_anything_is_done(broken):
    message, fault = REFUSED_REQUESTS[broken]
    with pytest.raises(fault) as refused:
        verify_request(message)
    assert refused.value.execution is Execution.NOT_EXECUTED


@pytest.mark.parametrize("age", [timedelta(minutes=6), -timedelta(seconds=60)])
def test_the_acceptance_window_has_these_ends(age):
    assert verify_request(WORLD.opened(request(), NOW - age))


def test_a_request_relayed_by_another_server_is_refused():
    with pytest.raises(PeerMismatch):
        verify_request(GOOD, peer=OTHER_SERVER)


def test_nothing_is_believed_under_an_expired_configuration():
    world = World()
    message = world.opened(request())
    world.registry.expired = True
    with pytest.raises(ConfigurationExpired):
        verify_request(message, world=world)


def test_a_ca_that_is_no_longer_approved_ends_what_it_vouched_for():
    world = World()
    message = world.opened(request())
    assert verify_request(message, world=world)
    world.registry.change(certification_authorities=())
    with pytest.raises(CertificateInvalid):
        verify_request(message, world=world)


REFUSED_RESPONSES = {
    "a signed request": (GOOD, PartUnexpected),
    "answer to another, of the same id": (
        WORLD.closed(answer_to(WORLD.opened(request()))),
        ResponseInconsistent,
    ),
    "answer with another's identities": (
        WORLD.closed(
            replace(
                answer_to(GOOD),
                identities=replace(request().identities, method="x.Y/Z"),
            )
        ),
        ResponseInconsistent,
    ),
    "signed by who asked": (
        WORLD.closed(answer_to(GOOD), credential=WORLD.tax.credential()),
        SignerMismatch,
    ),
    "a fault of another request": (
        WORLD.refused(refusal_of(WORLD.opened(request()))),
        ResponseInconsistent,
    ),
    "a fault of no request": (
        WORLD.refused(refusal_of(GOOD, refused=None)),
        ResponseInconsistent,
    ),
    "a fault in another's name": (
        WORLD.refused(refusal_of(GOOD, origin=OTHER_SERVER)),
        PeerMismatch,
    ),
    "a fault signed by who asked": (
        WORLD.refused(refusal_of(GOOD), credential=WORLD.tax.credential()),
        SignerMismatch,
    ),
    "an old fault": (
        WORLD.refused(refusal_of(GOOD, issued_at=NOW - timedelta(hours=1))),
        OutsideAcceptanceWindow,
    ),
}


@pytest.mark.parametrize("broken", REFUSED_RESPONSES)
def test_a_refused_response_leaves_the_outcome_open(broken):
    message, fault = REFUSED_RESPONSES[broken]
    with pytest.raises(fault) as refused:
        verify_response(message)
    assert refused.value.execution is Execution.UNKNOWN


def test_a_response_relayed_by_another_server_is_refused():
    with pytest.raises(PeerMismatch):
        verify_response(WORLD.closed(answer_to(GOOD)), peer=OTHER_SERVER)


def test_a_peers_fault_is_believed_and_raised_with_what_it_says():
    verified = verify_response(WORLD.refused(refusal_of(GOOD)))
    assert isinstance(verified, VerifiedFault)
    with pytest.raises(AccessDenied) as said:
        _ = verified.response
    assert said.value.origin == POPULATION_SERVER
    assert said.value.execution is Execution.NOT_EXECUTED
    assert said.value.refused == GOOD.part.imprint
    assert said.value.detail == "ask for a right"


WIRE = part_to_pb(GOOD).SerializeToString()


@given(st.integers(min_value=0, max_value=len(WIRE) * 8 - 1))
def test_any_flipped_bit_is_refused_or_changes_nothing_that_is_said(bit):
    octets = bytearray(WIRE)
    octets[bit // 8] ^= 1 << bit % 8
    try:
        pb = exchange_pb2.SignedPart.FromString(bytes(octets))
        message = part_from_pb(pb)
        verified = verify_request(message)
    except (Fault, DecodeError):
        return
    # A tag that became unknown is skipped by protobuf: then nothing is missing either.
    assert verified.request == request()
    assert message.part == GOOD.part


def test_evidence_of_a_foreign_shape_is_no_frame():
    pb = part_to_pb(GOOD)
    pb.ocsp_imprint = b"\1short"
    with pytest.raises(FrameUnexpected):
        part_from_pb(pb)


def test_delivered_parts_say_who_handed_them_over():
    assert Delivered(GOOD, TAX_SERVER, b"").peer == TAX_SERVER
    assert POPULATION.member != TAX.member
