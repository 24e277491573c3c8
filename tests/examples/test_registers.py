"""The population and health registers, asked directly over gRPC."""

from collections.abc import AsyncIterator
from datetime import date

import grpc
import pytest
from grpc import StatusCode, aio
from grpc_health.v1 import health_pb2 as grpc_health_pb2
from grpc_health.v1 import health_pb2_grpc as grpc_health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from examples.agencies.health import service as health
from examples.agencies.health.v1 import health_pb2, health_pb2_grpc
from examples.agencies.personal_codes import person_id
from examples.agencies.persons import COUNT, all_persons
from examples.agencies.population import service as population
from examples.agencies.population.v1 import population_pb2, population_pb2_grpc
from tests.examples.agency import fields_at_fault, running

MATI = "PNOEE-39901012239"
# Valid, and in no register: its serial number is below those that are drawn.
NOBODY = person_id(female=False, birth_date=date(1980, 1, 8), serial=1)
MISTYPED = "PNOEE-39901012238"


@pytest.fixture
async def persons() -> "AsyncIterator[population_pb2_grpc.PersonRegistryAsyncStub]":
    async with (
        running(population.NAME, population.add) as address,
        aio.insecure_channel(address) as channel,
    ):
        yield population_pb2_grpc.PersonRegistryStub(channel)


@pytest.fixture
async def insurance() -> "AsyncIterator[health_pb2_grpc.InsuranceRegistryAsyncStub]":
    async with (
        running(health.NAME, health.add) as address,
        aio.insecure_channel(address) as channel,
    ):
        yield health_pb2_grpc.InsuranceRegistryStub(channel)


async def test_a_person_is_found_by_identifier(persons):
    person = await persons.GetPerson(population_pb2.GetPersonRequest(person_id=MATI))
    assert (person.id, person.given_name, person.birth_date) == (
        MATI,
        "Mati",
        "1999-01-01",
    )
    assert person.sex == population_pb2.SEX_MALE
    assert person.address.municipality


async def test_an_unknown_person_is_not_found(persons):
    with pytest.raises(grpc.RpcError) as caught:
        await persons.GetPerson(population_pb2.GetPersonRequest(person_id=NOBODY))
    assert caught.value.code() == StatusCode.NOT_FOUND
    # Statuses are logged where messages are not: they name no person.
    assert NOBODY not in caught.value.details()


@pytest.mark.parametrize("person_id", [MISTYPED, "", "39901012239"])
async def test_a_malformed_identifier_is_invalid(persons, person_id: str):
    with pytest.raises(grpc.RpcError) as caught:
        await persons.GetPerson(population_pb2.GetPersonRequest(person_id=person_id))
    assert caught.value.code() == StatusCode.INVALID_ARGUMENT
    assert fields_at_fault(caught.value) == ["person_id"]


async def test_persons_are_found_by_name_whatever_the_case(persons):
    request = population_pb2.FindPersonsRequest(given_name="mAti", family_name="NÄI")
    found = await persons.FindPersons(request)
    assert [person.id for person in found.persons] == [MATI]
    assert not found.more


async def test_a_common_name_is_cut_at_the_limit_and_says_so(persons):
    found = await persons.FindPersons(population_pb2.FindPersonsRequest(given_name="M"))
    assert len(found.persons) == 100
    assert found.more


async def test_a_search_for_nothing_is_invalid(persons):
    with pytest.raises(grpc.RpcError) as caught:
        await persons.FindPersons(population_pb2.FindPersonsRequest())
    assert caught.value.code() == StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("size", [0, 7, 100, 5000])
async def test_pages_of_a_municipality_hold_everyone_once(persons, size: int):
    expected = [p.id for p in all_persons() if p.municipality == "Tartu"]
    seen: list[str] = []
    token = ""
    while True:
        request = population_pb2.ListPersonsRequest(
            municipality="tartu", page_size=size, page_token=token
        )
        page = await persons.ListPersons(request)
        assert 0 < len(page.persons) <= min(size or 20, 100)
        seen += [person.id for person in page.persons]
        token = page.next_page_token
        if not token:
            break
    assert seen == expected


async def test_a_place_without_people_is_an_empty_page(persons):
    request = population_pb2.ListPersonsRequest(municipality="Atlantis")
    assert await persons.ListPersons(request) == population_pb2.ListPersonsResponse()


@pytest.mark.parametrize("token", ["x", "-1", "٣", "99999"])
async def test_a_token_of_another_making_is_invalid(persons, token: str):
    request = population_pb2.ListPersonsRequest(municipality="Tartu", page_token=token)
    with pytest.raises(grpc.RpcError) as caught:
        await persons.ListPersons(request)
    assert caught.value.code() == StatusCode.INVALID_ARGUMENT
    assert fields_at_fault(caught.value) == ["page_token"]


async def test_both_registers_know_the_same_persons(insurance):
    for person in all_persons()[:: COUNT // 50]:
        request = health_pb2.GetInsuranceRequest(person_id=person.id)
        answer = await insurance.GetInsurance(request)
        assert answer.person_id == person.id
        assert answer.insured == (answer.basis != health_pb2.BASIS_UNSPECIFIED)
        assert bool(answer.insured_from) == answer.insured


async def test_visits_come_newest_first_and_name_the_person(insurance):
    seen = 0
    for person in all_persons()[:30]:
        request = health_pb2.ListVisitsRequest(person_id=person.id)
        visits = (await insurance.ListVisits(request)).visits
        dates = [visit.date for visit in visits]
        assert dates == sorted(dates, reverse=True)
        assert {visit.person_id for visit in visits} <= {person.id}
        seen += len(visits)
    assert seen > 30


@pytest.mark.parametrize(
    ("person_id", "status"),
    [(NOBODY, StatusCode.NOT_FOUND), (MISTYPED, StatusCode.INVALID_ARGUMENT)],
)
async def test_the_health_fund_refuses_alike(insurance, person_id: str, status):
    for method, request in (
        (insurance.GetInsurance, health_pb2.GetInsuranceRequest),
        (insurance.ListVisits, health_pb2.ListVisitsRequest),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            await method(request(person_id=person_id))
        assert caught.value.code() == status


@pytest.mark.parametrize("agency", [population, health])
async def test_health_and_reflection_are_answered(agency):
    async with (
        running(agency.NAME, agency.add) as address,
        aio.insecure_channel(address) as channel,
    ):
        checks = grpc_health_pb2_grpc.HealthStub(channel)
        for name in ("", agency.NAME):
            answer = await checks.Check(
                grpc_health_pb2.HealthCheckRequest(service=name)
            )
            assert answer.status == grpc_health_pb2.HealthCheckResponse.SERVING
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="*")
        async for answer in stub.ServerReflectionInfo(iter([request])):
            listed = answer.list_services_response.service
            assert agency.NAME in {service.name for service in listed}
