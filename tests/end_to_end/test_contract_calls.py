"""A call that succeeds, and one that the service itself refuses, on every surface."""

import json

import psycopg
import pytest
from grpc import StatusCode, aio

from examples.agencies.persons import all_persons
from examples.agencies.population.v1 import population_pb2 as population
from examples.agencies.population.v1.population_pb2_grpc import PersonRegistryStub
from ledger.record import Kind
from tests.end_to_end.calling import ask, new_message_id
from tests.end_to_end.conftest import DESK
from tests.end_to_end.desk import (
    ASK,
    REFUSAL,
    REFUSE,
    REFUSED_WITH,
    Desk,
    note,
    refusal_details,
)
from tests.end_to_end.instance import Instance
from tests.end_to_end.waiting import until

# Well formed, and in no register.
STRANGER = "PNOEE-30001010004"


def halves(instance: Instance, message_id: str, provider: str) -> None:
    """Assert that both ledgers hold the same request and the same response."""
    sent, received = instance.entries("tax", message_id)
    asked, answered = instance.entries(provider, message_id)
    kinds = [Kind(entry.kind) for entry in (sent, asked, answered, received)]
    assert kinds == [
        *(Kind.REQUEST_SENT, Kind.REQUEST_RECEIVED),
        *(Kind.RESPONSE_SENT, Kind.RESPONSE_RECEIVED),
    ]
    for ours, theirs in ((sent, asked), (answered, received)):
        assert ours.head == theirs.head
        assert ours.part_type == theirs.part_type
        assert ours.commitments == theirs.commitments
        # The receiver has recorded which row of the sender's ledger it was.
        assert ours.row_hash in theirs.local_header
        assert theirs.row_hash not in ours.local_header


@pytest.mark.parametrize("code", ["tax", "population"])
async def test_ledgers_agree_and_verify(
    instance: Instance, tax: aio.Channel, code: str
) -> None:
    example = instance.example
    outcome = await ask(tax, example.method, example.body, example.metadata())
    assert outcome.code is StatusCode.OK
    halves(instance, outcome.message_id, "population")
    verified = instance.verify(code)
    assert verified.status == 0
    found = verified.document
    assert found.keys() == {"ok", "entries", "rounds", "first_bad"}
    assert found["ok"] is True
    assert found["first_bad"] is None
    assert found["entries"] >= 2
    assert found["rounds"] >= 1


async def test_example_works_from_any_client_that_sets_metadata(
    instance: Instance, tax: aio.Channel
) -> None:
    example = instance.example
    outcome = await ask(tax, example.method, example.body, example.metadata())
    assert outcome.code is StatusCode.OK, outcome
    assert outcome.body is not None
    assert population.Person.FromString(outcome.body).id == example.keys["subject"]
    received = instance.entries("tax", outcome.message_id)[-1]
    assert outcome.trailer("ristmik-record") == str(received.seq)
    assert outcome.origin == "service"
    assert outcome.faults == []


async def test_example_works_from_the_generated_stub(
    instance: Instance, tax: aio.Channel
) -> None:
    stub, metadata = PersonRegistryStub(tax), instance.example.metadata()
    subject = instance.example.keys["subject"]
    person = await stub.GetPerson(
        population.GetPersonRequest(person_id=subject), metadata=metadata, timeout=20
    )
    assert person.id == subject
    found = await stub.FindPersons(
        population.FindPersonsRequest(family_name=person.family_name),
        metadata=metadata,
        timeout=20,
    )
    assert person in found.persons
    listed = await stub.ListPersons(
        population.ListPersonsRequest(municipality=person.address.municipality),
        metadata=metadata,
        timeout=20,
    )
    assert len(listed.persons) == 20


async def test_persons_of_an_answer_become_its_subjects(
    instance: Instance, tax: aio.Channel
) -> None:
    example = instance.example
    request = population.ListPersonsRequest(
        municipality=all_persons()[0].municipality, page_size=5
    )
    method = example.method.replace("GetPerson", "ListPersons")
    outcome = await ask(tax, method, request.SerializeToString(), example.metadata())
    assert outcome.body is not None, outcome
    listed = population.ListPersonsResponse.FromString(outcome.body)
    assert len(listed.persons) == 5
    for code in ("tax", "population"):
        request_seq, response_seq = (
            entry.seq for entry in instance.entries(code, outcome.message_id)
        )
        assert indexed(instance, code, request_seq) == 1
        assert indexed(instance, code, response_seq) >= 5


async def test_caller_may_choose_the_message_id(
    instance: Instance, tax: aio.Channel
) -> None:
    example, chosen = instance.example, new_message_id()
    metadata = example.metadata(message_id=chosen)
    outcome = await ask(tax, example.method, example.body, metadata)
    assert outcome.code is StatusCode.OK
    assert outcome.message_id == chosen
    halves(instance, chosen, "population")


async def test_status_of_the_service_passes_unchanged(
    instance: Instance, tax: aio.Channel, desk: Desk
) -> None:
    outcome = await ask(tax, REFUSE, note("open?"), on_desk(instance))
    assert outcome.code is StatusCode.FAILED_PRECONDITION
    assert outcome.details == REFUSAL
    assert set(REFUSED_WITH) <= set(outcome.trailers)
    assert outcome.trailer("grpc-status-details-bin") == refusal_details()
    assert outcome.origin == "service"
    assert outcome.faults == []
    assert len(desk.asked_by(outcome.message_id)) == 1
    halves(instance, outcome.message_id, "health")
    assert [entry.status for entry in instance.entries("tax", outcome.message_id)] == [
        0,
        StatusCode.FAILED_PRECONDITION.value[0],
    ]


async def test_metadata_passes_both_ways_and_what_is_the_buss_does_not(
    instance: Instance, tax: aio.Channel, desk: Desk
) -> None:
    own = (("x-office", "7"), ("x-raw-bin", b"\x00\xff"), ("ristmik-forged", "1"))
    metadata = (*on_desk(instance, case="A-1"), *own, ("ristmik-official", "Mari"))
    outcome = await ask(tax, ASK, note("hello"), metadata)
    assert (outcome.code, outcome.body) == (StatusCode.OK, note("hello"))
    assert ("desk-number", "7") in outcome.initial
    assert ("desk-clerk", "Mari") in outcome.trailers
    (asked,) = desk.asked_by(outcome.message_id)
    assert {("x-office", "7"), ("x-raw-bin", b"\x00\xff")} <= set(asked.metadata)
    ours = {key: value for key, value in asked.metadata if key.startswith("ristmik-")}
    assert ours == {
        "ristmik-client": instance.example.keys["client"],
        "ristmik-service": DESK,
        "ristmik-message-id": outcome.message_id,
        "ristmik-case": "A-1",
    }


def test_call_prints_its_outcome_as_one_document(instance: Instance) -> None:
    ran = instance.call()
    assert ran.status == 0
    called = ran.document
    assert called.keys() == {"response", "status", "message_id", "records", "fault"}
    assert called["status"] == "OK"
    assert called["fault"] is None
    assert called["response"]["id"] == instance.example.keys["subject"]
    received = instance.entries("tax", called["message_id"])[-1]
    assert called["records"] == {"consumer": received.seq}
    halves(instance, called["message_id"], "population")


def test_call_for_people_keeps_standard_output_for_the_answer(
    instance: Instance,
) -> None:
    said = instance.document["example"]
    options = [
        *("--client", said["client"], "--service", said["service"]),
        *("--subject", said["subject"], "--purpose", said["purpose"]),
        *("--legal-basis", said["legal_basis"]),
    ]
    ran = instance.ristmik("call", *options, "GetPerson", said["json"])
    assert ran.status == 0
    assert json.loads(ran.out)["id"] == said["subject"]
    assert "message" in ran.err


def test_call_prints_what_the_service_itself_refuses(instance: Instance) -> None:
    asked = json.dumps({"person_id": STRANGER})
    ran = instance.call(subject=STRANGER, json=asked)
    assert ran.status == 1
    called = ran.document
    assert called["status"] == "NOT_FOUND", called
    assert called["response"] is None
    assert called["fault"] is None
    halves(instance, called["message_id"], "population")


def test_call_prints_a_fault_of_the_bus(instance: Instance) -> None:
    ran = instance.call(
        service="EE-SANDBOX/GOV/74000091/health/insurance/v1",
        method="health.v1.InsuranceRegistry/GetInsurance",
    )
    assert ran.status == 1
    called = ran.document
    assert called["status"] == "PERMISSION_DENIED"
    assert called["response"] is None
    fault = called["fault"]
    assert fault.keys() == {"code", "detail", "origin", "execution"}
    assert fault["code"] == "ACCESS_DENIED"
    assert fault["origin"] == instance.server("health").id
    assert fault["execution"] == "NOT_EXECUTED"
    assert "grant" in fault["detail"]


async def test_time_stamp_follows_a_call(instance: Instance, tax: aio.Channel) -> None:
    example = instance.example
    outcome = await ask(tax, example.method, example.body, example.metadata())
    newest = instance.entries("tax", outcome.message_id)[-1].seq
    query = "SELECT max(size) FROM ledger.round JOIN ledger.time_stamp USING (round)"

    def stamped() -> bool:
        with psycopg.connect(instance.dsn("tax")) as connection:
            row = connection.execute(query).fetchone()
        return row is not None and row[0] is not None and row[0] > newest

    until(stamped, "a time-stamped checkpoint over the call", within_s=15)


def on_desk(instance: Instance, **changed: str) -> tuple[tuple[str, str | bytes], ...]:
    absent = dict.fromkeys(("subject", "purpose", "legal_basis"))
    return instance.example.metadata(**{"service": DESK, **absent, **changed})


def indexed(instance: Instance, code: str, seq: int) -> int:
    """Count the persons that an entry is indexed under."""
    with psycopg.connect(instance.dsn(code)) as connection:
        row = connection.execute(
            "SELECT count(*) FROM ledger.subject_index WHERE seq = %s", (seq,)
        ).fetchone()
    assert row is not None
    return int(row[0])
