"""PersonRegistry over gRPC."""

from grpc import aio

from examples.agencies.persons import Person
from examples.agencies.population.register import PAGE_SIZE, Register
from examples.agencies.population.v1 import population_pb2, population_pb2_grpc
from examples.agencies.serving import Context, invalid, known_person_id, not_found

NAME = population_pb2.DESCRIPTOR.services_by_name["PersonRegistry"].full_name


class PersonRegistry(population_pb2_grpc.PersonRegistryServicer):
    def __init__(self, register: Register) -> None:
        self._register = register

    async def GetPerson(
        self, request: population_pb2.GetPersonRequest, context: Context
    ) -> population_pb2.Person:
        asked = await known_person_id(request.person_id, context, field="person_id")
        person = self._register.get(asked)
        if person is None:
            await not_found(context, "the population register has no such person")
        return person_to_pb(person)

    async def FindPersons(
        self, request: population_pb2.FindPersonsRequest, context: Context
    ) -> population_pb2.FindPersonsResponse:
        if not (request.given_name or request.family_name):
            await invalid(context, field="family_name", description="no name is given")
        found, more = self._register.find(
            given_name=request.given_name, family_name=request.family_name
        )
        return population_pb2.FindPersonsResponse(
            persons=map(person_to_pb, found), more=more
        )

    async def ListPersons(
        self, request: population_pb2.ListPersonsRequest, context: Context
    ) -> population_pb2.ListPersonsResponse:
        if not request.municipality:
            await invalid(context, field="municipality", description="none is given")
        try:
            page, next_token = self._register.page(
                request.municipality,
                size=request.page_size or PAGE_SIZE,
                token=request.page_token,
            )
        except ValueError as error:
            await invalid(context, field="page_token", description=str(error))
        return population_pb2.ListPersonsResponse(
            persons=map(person_to_pb, page), next_page_token=next_token
        )


def person_to_pb(person: Person) -> population_pb2.Person:
    female, male = population_pb2.SEX_FEMALE, population_pb2.SEX_MALE
    return population_pb2.Person(
        id=person.id,
        given_name=person.given_name,
        family_name=person.family_name,
        birth_date=person.birth_date.isoformat(),
        sex=female if person.female else male,
        address=population_pb2.Address(
            municipality=person.municipality,
            street=person.street,
            postal_code=person.postal_code,
        ),
    )


def add(server: aio.Server) -> None:
    population_pb2_grpc.add_PersonRegistryServicer_to_server(
        PersonRegistry(Register()), server
    )
