"""What the local leg refuses before the walk begins, and what of it is recorded."""

import pytest
from grpc import StatusCode

from security_server.registration.registrations import LocalClient
from tests.security_server.descriptors import (
    GET,
    LOAD,
    POPULATION,
    TAX,
    WATCH,
)
from tests.security_server.local_leg import (
    ANN,
    HERE,
    NAMED,
    THERE,
    WHY,
    LocalLeg,
    Walk,
    call,
    fault_in,
    refused,
)
from vocabulary.faults import (
    Execution,
)

MIB = 1 << 20


async def test_an_octet_over_16_mib_is_refused_by_name_and_recorded():
    leg = LocalLeg()
    async with leg.connected() as channel:
        outcome = await call(channel, GET, bytes(16 * MIB + 1))
    fault = fault_in(outcome)
    assert outcome.code is StatusCode.RESOURCE_EXHAUSTED
    assert fault.code == "LIMIT_EXCEEDED"
    assert "message" in fault.detail
    assert fault.execution is Execution.NOT_EXECUTED
    assert [each.code for each in leg.refused.faults] == ["LIMIT_EXCEEDED"]
    assert leg.refused.requests[0].identities.provider_server == THERE
    assert not leg.walk.requests


async def test_far_over_the_limit_gives_the_same_status():
    leg = LocalLeg()
    async with leg.connected() as channel:
        outcome = await call(channel, GET, bytes(18 * MIB))
    assert outcome.code is StatusCode.RESOURCE_EXHAUSTED
    assert not leg.walk.requests


@pytest.mark.parametrize("messages", [(), (b"one", b"two"), (b"",) * 3])
async def test_one_message_it_is(messages):
    leg = LocalLeg()
    async with leg.connected() as channel:
        outcome = await call(channel, GET, *messages, unary=False)
    assert outcome.code is StatusCode.INVALID_ARGUMENT
    assert fault_in(outcome).code == "MESSAGE_INVALID"
    assert leg.refused.faults[0].execution is Execution.NOT_EXECUTED
    assert not leg.walk.requests


@pytest.mark.parametrize("method", [WATCH, LOAD])
async def test_a_streaming_method_is_refused_by_name(method):
    leg = LocalLeg()
    outcome, fault = await refused(leg, method=method)
    assert outcome.code is StatusCode.UNIMPLEMENTED
    assert fault.code == "STREAMING_NOT_OFFERED"
    assert method in fault.detail
    assert outcome.trailing["ristmik-origin"] == str(HERE)
    assert outcome.trailing["ristmik-message-id"]
    assert [each.code for each in leg.refused.faults] == ["STREAMING_NOT_OFFERED"]
    assert not leg.walk.requests


async def test_an_unknown_method_is_refused_and_recorded():
    leg = LocalLeg()
    outcome, fault = await refused(leg, method="persons.v1.Persons/Put")
    assert outcome.code is StatusCode.UNIMPLEMENTED
    assert (fault.code, fault.origin) == ("METHOD_UNKNOWN", HERE)
    # A name that nobody registered is the caller's text, and is not kept.
    assert leg.refused.requests[0].identities.method == ""


async def test_a_service_that_its_provider_does_not_know_is_the_providers_refusal():
    leg = LocalLeg(Walk(registered=False))
    outcome, fault = await refused(leg)
    assert outcome.code is StatusCode.NOT_FOUND
    assert (fault.code, fault.origin) == ("SERVICE_UNKNOWN", THERE)
    assert fault.execution is Execution.NOT_EXECUTED
    assert outcome.trailing["ristmik-origin"] == str(THERE)
    assert leg.refused.requests[0].identities.method == ""


async def test_an_unknown_member_is_refused_and_recorded():
    leg = LocalLeg()
    metadata = (NAMED[0], ("ristmik-service", "EE-TEST/GOV/1/none/persons/v1"), *WHY)
    outcome, fault = await refused(leg, metadata=metadata)
    assert outcome.code is StatusCode.NOT_FOUND
    assert fault.code == "MEMBER_UNKNOWN"
    assert leg.refused.requests[0].purpose_block.subjects == (ANN,)


MALFORMED = {
    "no service": (NAMED[0],),
    "two services": (*NAMED, NAMED[1]),
    "message id": (*NAMED, ("ristmik-message-id", "1")),
    "subject": (*NAMED, ("ristmik-subject", "39901012239")),
    "trace": (*NAMED, ("traceparent", "00-1-2-3")),
    "percent sign": (*NAMED, ("ristmik-case", "%")),
}


@pytest.mark.parametrize("what", MALFORMED)
async def test_malformed_metadata_of_a_client_is_refused_and_recorded(what):
    leg = LocalLeg()
    outcome, fault = await refused(leg, metadata=MALFORMED[what])
    assert outcome.code is StatusCode.INVALID_ARGUMENT
    assert fault.code == "METADATA_INVALID"
    assert fault.execution is Execution.NOT_EXECUTED
    assert [each.code for each in leg.refused.faults] == ["METADATA_INVALID"]
    assert not leg.walk.described


@pytest.mark.parametrize("octets", [16 << 10, 30 << 10])
async def test_metadata_over_16_kib_is_refused_by_name(octets):
    leg = LocalLeg()
    outcome, fault = await refused(leg, metadata=(*NAMED, ("k", "v" * octets)))
    assert outcome.code is StatusCode.RESOURCE_EXHAUSTED
    assert fault.code == "LIMIT_EXCEEDED"
    assert fault.detail.startswith("metadata")
    assert len(leg.refused.faults) == 1


STRANGERS = {
    "nobody": (NAMED[1],),
    "twice": (*NAMED, NAMED[0]),
    "malformed": (("ristmik-client", "tax"), NAMED[1]),
    "not ours": (("ristmik-client", str(POPULATION)), NAMED[1]),
}


@pytest.mark.parametrize("what", STRANGERS)
async def test_a_stranger_is_refused_and_not_recorded(what):
    leg = LocalLeg()
    outcome, fault = await refused(leg, metadata=STRANGERS[what])
    assert fault.code in {"METADATA_INVALID", "CLIENT_UNKNOWN"}
    assert outcome.code in {StatusCode.INVALID_ARGUMENT, StatusCode.UNAUTHENTICATED}
    assert fault.execution is Execution.NOT_EXECUTED
    assert not leg.refused.faults
    assert leg.service.strangers == 1


async def test_plaintext_is_for_clients_it_was_allowed():
    leg = LocalLeg(clients=[LocalClient(TAX, plaintext_loopback=False)])
    outcome, fault = await refused(leg)
    assert outcome.code is StatusCode.UNAUTHENTICATED
    assert fault.code == "CLIENT_UNKNOWN"
