"""`ristmik call` against a security server's local leg that is a fake."""

import threading
from urllib.parse import unquote

import grpc
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from cli.commands.call import UNREADABLE, in_metadata
from examples.agencies.population.v1 import population_pb2
from messaging.transport import ORIGIN_KEY, refusal
from tests.cli.conftest import CLIENTS
from tests.cli.fakes import SERVER, FakeBus, person_answer, refuse, serving
from vocabulary.faults import (
    AccessDenied,
    ClientUnknown,
    Execution,
    MethodUnknown,
    ServiceUnknown,
)

TAX = next(iter(CLIENTS))
PERSONS = "EE-SANDBOX/GOV/70008440/population/persons/v1"
PERSON = "PNOEE-38001085718"
REQUEST = f'{{"person_id": "{PERSON}"}}'
NAMED = ("call", "--client", TAX, "--service", PERSONS)


@pytest.fixture
def bus(instance):
    made = FakeBus(person_answer(PERSON))
    with serving("127.0.0.1:0", made.add_to, made.interceptor()) as port:
        instance.describe(local=f"127.0.0.1:{port}")
        yield made


@pytest.mark.usefixtures("bus")
def test_call_prints_the_contract(ristmik) -> None:
    ran = ristmik(*NAMED, "GetPerson", REQUEST, "--json")
    assert ran.status == 0
    assert ran.document == {
        "response": {"id": PERSON, "given_name": "Mari", "sex": "SEX_FEMALE"},
        "status": "OK",
        "message_id": "0190-made",
        "records": {"consumer": 12},
        "fault": None,
    }


@pytest.mark.parametrize("prefix", ["", "/"])
def test_method_may_be_named_in_full(ristmik, bus, prefix) -> None:
    method = f"{prefix}population.v1.PersonRegistry/GetPerson"
    assert ristmik(*NAMED, method, REQUEST).status == 0
    assert bus.called_with[0][0] == "/population.v1.PersonRegistry/GetPerson"


@pytest.mark.usefixtures("bus")
def test_result_for_people_is_the_answer_alone_on_standard_output(ristmik) -> None:
    ran = ristmik(*NAMED, "GetPerson", REQUEST)
    assert ran.out.startswith("{\n")
    assert "Mari" in ran.out
    assert "entry 12" in ran.err
    assert "0190-made" in ran.err


def test_names_and_purposes_travel_as_metadata(ristmik, bus) -> None:
    ristmik(
        *(*NAMED, "--subject", PERSON, "--subject", "PNOEE-1", "--purpose", "tax"),
        *("--legal-basis", "TaxAct § 12", "--case", "100%", "--message-id", "m"),
        *("GetPerson", REQUEST),
    )
    sent = list(bus.called_with[0][2])
    assert ("ristmik-client", TAX) in sent
    assert ("ristmik-service", PERSONS) in sent
    assert [v for k, v in sent if k == "ristmik-subject"] == [PERSON, "PNOEE-1"]
    assert ("ristmik-purpose", "tax") in sent
    assert ("ristmik-legal-basis", "TaxAct %C2%A7 12") in sent
    assert ("ristmik-case", "100%25") in sent
    assert ("ristmik-message-id", "m") in sent


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_travels_as_metadata(text) -> None:
    carried = in_metadata(text)
    assert all(" " <= character <= "~" for character in carried)
    assert carried == carried.strip(" ")
    assert unquote(carried) == text


def test_description_is_asked_of_the_provider_without_the_purpose(ristmik, bus) -> None:
    ristmik(*NAMED, "--purpose", "tax", "GetPerson", REQUEST)
    (described,) = bus.described_with
    assert ("ristmik-client", TAX) in described
    assert ("ristmik-service", PERSONS) in described
    assert "ristmik-purpose" not in dict(described)


@pytest.mark.usefixtures("bus")
def test_error_of_the_service_is_its_status_and_no_fault(ristmik) -> None:
    ran = ristmik(*NAMED, "GetPerson", '{"person_id": "PNOEE-1"}', "--json")
    assert ran.status == 1
    assert ran.document == {
        "response": None,
        "status": "NOT_FOUND",
        "message_id": "0190-made",
        "records": {"consumer": 12},
        "fault": None,
    }
    readable = ristmik(*NAMED, "GetPerson", '{"person_id": "PNOEE-1"}')
    assert "the service itself answered NOT_FOUND: no person PNOEE-1" in readable.err
    assert readable.out == ""


def test_fault_that_a_service_forges_is_not_the_bus_speaking(ristmik, bus) -> None:
    def forge(_request: bytes, context: grpc.ServicerContext) -> bytes:
        forged = refusal(AccessDenied("forged"), origin=SERVER)
        details = [pair for pair in forged.trailers if pair[0] != ORIGIN_KEY]
        context.set_trailing_metadata((*details, (ORIGIN_KEY, "service")))
        context.abort(forged.status, forged.message)

    bus.answer = forge
    ran = ristmik(*NAMED, "GetPerson", REQUEST, "--json")
    assert (ran.status, ran.document["fault"]) == (1, None)
    assert ran.document["status"] == "PERMISSION_DENIED"


def test_refusal_of_the_bus_is_its_fault(ristmik, bus) -> None:
    def deny(_request: bytes, context: grpc.ServicerContext) -> bytes:
        fault = AccessDenied("no right: ask for it")
        fault.execution = Execution.NOT_EXECUTED
        refuse(context, fault)

    bus.answer = deny
    ran = ristmik(*NAMED, "GetPerson", REQUEST, "--json")
    assert ran.status == 1
    assert ran.document == {
        "response": None,
        "status": "PERMISSION_DENIED",
        "message_id": "0190-made",
        "records": {"consumer": 12},
        "fault": {
            "code": "ACCESS_DENIED",
            "detail": "no right: ask for it",
            "origin": str(SERVER),
            "execution": "NOT_EXECUTED",
        },
    }
    readable = ristmik(*NAMED, "GetPerson", REQUEST)
    assert readable.out == ""
    assert f"{SERVER} refused: ACCESS_DENIED: no right" in readable.err
    assert "the provider's system was not called" in readable.err


def test_service_that_is_not_described_is_the_fault_of_the_bus(ristmik, bus) -> None:
    bus.refusal = ServiceUnknown("not registered")
    bus.refusal.execution = Execution.NOT_EXECUTED
    ran = ristmik(*NAMED, "GetPerson", REQUEST, "--json")
    assert ran.status == 1
    assert ran.document["status"] == "NOT_FOUND"
    assert ran.document["fault"]["code"] == "SERVICE_UNKNOWN"
    assert ran.document["fault"]["execution"] == "NOT_EXECUTED"
    assert bus.called_with == []


@pytest.mark.parametrize("client", ["EE-SANDBOX/COM/1/none", "nobody", "täna"])
def test_unknown_or_malformed_client_is_for_the_bus_to_refuse(
    ristmik, bus, client
) -> None:
    bus.refusal = ClientUnknown("not a client of this server")
    arguments = ("call", "--client", client, "--service", PERSONS, "--json")
    ran = ristmik(*arguments, "GetPerson", REQUEST)
    assert ran.status == 1
    assert ran.document["fault"]["code"] == "CLIENT_UNKNOWN"
    assert ("ristmik-client", in_metadata(client)) in bus.described_with[0]


@pytest.mark.parametrize(
    "method", ["GetNobody", "population.v1.PersonRegistry/GetNobody"]
)
def test_unknown_method_is_for_the_bus_to_refuse(ristmik, bus, method) -> None:
    def unknown(_request: bytes, context: grpc.ServicerContext) -> bytes:
        refuse(context, MethodUnknown("not in the registration"))

    bus.answer = unknown
    ran = ristmik(*NAMED, method, REQUEST, "--json")
    assert (ran.status, ran.document["fault"]["code"]) == (1, "METHOD_UNKNOWN")
    ((called, request, _),) = bus.called_with
    assert called == "/population.v1.PersonRegistry/GetNobody"
    assert request == UNREADABLE


def test_no_message_reads_what_an_unknown_method_is_sent() -> None:
    with pytest.raises(DecodeError):
        population_pb2.GetPersonRequest.FromString(UNREADABLE)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('{"colour": 1}', "colour"),
        ('{"person_id": 1}', "person_id"),
        ("{", "JSON"),
        ("[]", "not a JSON object"),
        ("7", "not a JSON object"),
        ("[" * 100_000, "JSON"),
    ],
)
def test_request_that_is_none_is_misuse_and_not_sent(ristmik, bus, text, named) -> None:
    ran = ristmik(*NAMED, "GetPerson", text, "--json")
    assert ran.status == 2
    assert ran.document["error"]["code"] == "USAGE"
    assert named in ran.document["error"]["detail"]
    assert bus.called_with == []


def test_answer_that_is_not_as_described_is_said_so(ristmik, bus) -> None:
    bus.answer = lambda _request, _context: UNREADABLE
    ran = ristmik(*NAMED, "GetPerson", REQUEST, "--json")
    assert (ran.status, ran.document["error"]["code"]) == (1, "MESSAGE_INVALID")


def test_server_that_is_down_is_3(ristmik) -> None:
    ran = ristmik(*NAMED, "GetPerson", REQUEST, "--json")
    assert ran.status == 3
    assert "nothing was sent" in ran.document["error"]["detail"]


def test_no_answer_in_time_leaves_the_outcome_open(ristmik, bus) -> None:
    def too_late(_request: bytes, context: grpc.ServicerContext) -> bytes:
        over = threading.Event()
        context.add_callback(over.set)
        assert over.wait(10)
        return b""

    bus.answer = too_late
    ran = ristmik(*NAMED, "--timeout", "0.2", "GetPerson", REQUEST, "--json")
    assert ran.status == 1
    assert ran.document["status"] == "DEADLINE_EXCEEDED"
    assert ran.document["fault"]["code"] == "DEADLINE_EXCEEDED"
    assert ran.document["fault"]["execution"] == "UNKNOWN"
    assert ran.document["fault"]["origin"] is None


def test_server_that_goes_away_leaves_the_outcome_open(ristmik, bus) -> None:
    def gone(_request: bytes, context: grpc.ServicerContext) -> bytes:
        # What a killed server looks like: a status without its origin.
        context.set_trailing_metadata(())
        context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")

    bus.answer = gone
    ran = ristmik(*NAMED, "GetPerson", REQUEST, "--json")
    assert ran.status == 1
    assert ran.document["fault"]["code"] == "PEER_UNREACHABLE"
    assert ran.document["fault"]["execution"] == "UNKNOWN"
    assert ran.document["message_id"] is None
