"""What a call's metadata says to the bus, and what passes to the service."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from messaging.envelope import Identities, PurposeBlock, Request
from messaging.limits import require_small_metadata
from security_server.call_metadata import (
    CallerMetadata,
    from_grpc,
    identities_to_grpc,
    new_message_id,
    to_grpc,
)
from tests.security_server.descriptors import GET, PERSONS, POPULATION, TAX
from vocabulary.faults import LimitExceeded, MetadataInvalid
from vocabulary.identifiers import MemberId, SecurityServerId, parse_message_id

ANN, BEN = "PNOEE-39901012239", "PNOEE-38001085718"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def caller(*added, client=str(TAX), service=str(PERSONS)):
    named = (("ristmik-client", client), ("ristmik-service", service))
    return CallerMetadata((*named, *added))


def test_a_call_says_who_asks_what_and_why():
    message_id = new_message_id()
    metadata = caller(
        ("ristmik-message-id", message_id),
        ("ristmik-purpose", "tax-assessment"),
        ("ristmik-legal-basis", "taxation-act-61"),
        ("ristmik-subject", ANN),
        ("ristmik-subject", BEN),
        ("ristmik-subject", ANN),
        ("ristmik-case", "kohtuasi 7 %C2%A7 100%25"),
        ("ristmik-represented", "EE-TEST/GOV/70000310"),
        ("ristmik-official", "60001019906"),
        ("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01"),
    )
    assert metadata.client() == TAX
    assert metadata.named().service == PERSONS
    assert metadata.named().message_id == message_id
    assert metadata.purpose_block() == PurposeBlock(
        "tax-assessment", "taxation-act-61", (ANN, BEN), "kohtuasi 7 § 100%"
    )
    assert metadata.represented() == MemberId("EE-TEST", "GOV", "70000310")
    assert metadata.trace_id().hex() == TRACE


def test_what_is_not_said_is_empty_and_a_message_id_is_made():
    metadata = caller(("ristmik-purpose", ""))
    assert metadata.purpose_block() == PurposeBlock()
    assert metadata.represented() is None
    assert metadata.trace_id() == b""
    first, second = (parse_message_id(caller().named().message_id) for _ in range(2))
    assert first != second


CLIENTS = {
    "missing": CallerMetadata([]),
    "empty": caller(client=""),
    "three parts": caller(client="EE/GOV/70000349"),
    "repeated": caller(("ristmik-client", str(TAX))),
    "half a percent sign": caller(client="EE/GOV/70000349/tax%2"),
    "not utf-8": caller(client="EE/GOV/70000349/tax%ff"),
}
SERVICES = {
    "a subsystem": caller(service=str(POPULATION)),
    "repeated": caller(("ristmik-service", str(PERSONS))),
    "uuid 4": caller(("ristmik-message-id", "f47ac10b-58cc-4372-a567-0e02b2c3d479")),
    "upper case": caller(("ristmik-message-id", new_message_id().upper())),
    "no uuid": caller(("ristmik-message-id", "1")),
    "two ids": caller(*[("ristmik-message-id", new_message_id())] * 2),
}
BLOCKS = {
    "no person": caller(("ristmik-subject", "39901012239")),
    "two purposes": caller(*[("ristmik-purpose", "a")] * 2),
    "two legal bases": caller(*[("ristmik-legal-basis", "a")] * 2),
    "two cases": caller(*[("ristmik-case", "a")] * 2),
    "a line break": caller(("ristmik-case", "7%0A8")),
    "a percent sign": caller(("ristmik-case", "100%")),
}
TRACES = [
    "00",
    f"00-{TRACE}-00f067aa0ba902b7",
    f"00-{TRACE}-00f067aa0ba902b7-01-more",
    f"ff-{TRACE}-00f067aa0ba902b7-01",
    f"00-{'0' * 32}-00f067aa0ba902b7-01",
    f"00-{TRACE}-{'0' * 16}-01",
    f"00-{TRACE.upper()}-00f067aa0ba902b7-01",
]


@pytest.mark.parametrize("what", CLIENTS)
def test_a_client_that_cannot_be_read_is_metadata_invalid(what):
    with pytest.raises(MetadataInvalid, match="ristmik-client"):
        CLIENTS[what].client()


@pytest.mark.parametrize("what", SERVICES)
def test_a_service_or_message_id_that_cannot_be_read_is_metadata_invalid(what):
    with pytest.raises(MetadataInvalid, match="ristmik-"):
        SERVICES[what].named()


@pytest.mark.parametrize("what", BLOCKS)
def test_a_purpose_block_that_cannot_be_read_is_metadata_invalid(what):
    with pytest.raises(MetadataInvalid, match="ristmik-"):
        BLOCKS[what].purpose_block()


@pytest.mark.parametrize("trace", TRACES)
def test_a_trace_context_has_its_shape(trace):
    with pytest.raises(MetadataInvalid, match="traceparent"):
        caller(("traceparent", trace)).trace_id()


def test_a_trace_context_of_a_later_version_is_read_as_far_as_it_is_known():
    metadata = caller(("traceparent", f"01-{TRACE}-00f067aa0ba902b7-01-more"))
    assert metadata.trace_id().hex() == TRACE


def test_the_services_metadata_passes_in_order_without_the_hops_and_the_bus():
    kept = (
        ("k", "v"),
        ("k", "w"),
        ("x-bin", b"\x00\xff"),
        ("x-bin", b""),
        ("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01"),
        ("grpc-trace-bin", b"\x00"),
        ("authorization", "Bearer x"),
    )
    metadata = CallerMetadata(
        (
            ("user-agent", "grpc-python/1"),
            *kept,
            ("ristmik-origin", "service"),
            ("ristmik-client", "EE/GOV/1/a"),
            ("ristmik-unheard-of", "x"),
            ("ristmik-x-bin", b"\x00"),
            ("grpc-timeout", "1S"),
            ("grpc-accept-encoding", "gzip"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
        )
    )
    assert to_grpc(metadata.of_the_service()) == kept


@pytest.mark.parametrize("value", ["\u00e4", "\n", "\x7f"])
def test_what_http_2_does_not_carry_is_metadata_invalid(value):
    with pytest.raises(MetadataInvalid, match="ASCII"):
        from_grpc([("k", value)])
    with pytest.raises(MetadataInvalid, match="ASCII"):
        to_grpc((("k", value.encode()),))
    with pytest.raises(MetadataInvalid, match="key"):
        to_grpc((("K v", b""),))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "grpc-status-details-bin", "c-bin"]),
            st.binary(max_size=20),
        )
    )
)
def test_metadata_comes_back_the_same(entries):
    metadata = tuple(
        (key, value if key.endswith("-bin") else value.hex().encode())
        for key, value in entries
    )
    assert from_grpc(to_grpc(metadata)) == metadata


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1))
def test_what_the_system_is_told_can_be_read_as_it_was_said(case):
    assume(case.isprintable())
    server = SecurityServerId(TAX.member, "ss1")
    identities = Identities(new_message_id(), TAX, PERSONS, GET, server, server)
    said = Request(identities, b"", PurposeBlock("p", "l", (ANN, BEN), case))
    told = identities_to_grpc(said)
    assert all(value.isascii() and value == value.strip() for _, value in told)
    heard = CallerMetadata(told)
    assert heard.purpose_block() == said.purpose_block
    assert (heard.client(), heard.named().message_id) == (TAX, identities.message_id)


def test_metadata_over_the_limit_is_refused_by_name():
    require_small_metadata([("k", "v" * ((16 << 10) - 1))])
    with pytest.raises(LimitExceeded, match="metadata"):
        require_small_metadata([("k", "v" * (16 << 10))])
