"""What a system says of itself by reflection."""

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_reflection.v1alpha.reflection_pb2 import (
    ServerReflectionRequest,
    ServerReflectionResponse,
)

from security_server.reflection import METHODS, reflect
from security_server.registration.services import ServiceDescription
from tests.security_server.descriptors import DESCRIPTORS, GET
from tests.security_server.reflecting import Reflecting
from tests.security_server.systems import System, running
from vocabulary.faults import Execution, RegistrationInvalid, SystemUnreachable

DESCRIPTION = ServiceDescription(DESCRIPTORS, ["persons.v1.Persons"])


@pytest.mark.parametrize("methods", [METHODS, METHODS[:1], METHODS[1:]])
async def test_a_system_says_what_it_offers_in_either_version(methods):
    system = Reflecting(DESCRIPTION, methods)
    async with running(system):
        said = await reflect(system.address)
    assert said.grpc_services == ("persons.v1.Persons",)
    described = ServiceDescription(said.descriptors, said.grpc_services)
    assert described.unary_method(GET).input_type == "persons.v1.GetRequest"


async def test_files_are_asked_for_until_nothing_is_missing():
    # As Go's servers answer: one file, without those that it imports.
    files = FileDescriptorSet.FromString(DESCRIPTORS).file
    by_name = {file.name: file.SerializeToString() for file in files}

    async def answer(context, _bodies):
        question = ServerReflectionRequest.FromString(await context.read())
        said = ServerReflectionResponse()
        if question.WhichOneof("message_request") == "list_services":
            said.list_services_response.service.add(name="persons.v1.Persons")
        else:
            name = question.file_by_filename or "persons/v1/persons.proto"
            content = by_name[name]
            said.file_descriptor_response.file_descriptor_proto.append(content)
        await context.write(said.SerializeToString())

    system = System(answer)
    async with running(system):
        said = await reflect(system.address)
    described = ServiceDescription(said.descriptors, said.grpc_services)
    assert GET in described.methods


async def test_a_system_without_reflection_needs_a_descriptor_file():
    system = Reflecting(DESCRIPTION, methods=())
    async with running(system):
        with pytest.raises(RegistrationInvalid, match="descriptor file"):
            await reflect(system.address)
    assert set(system.asked) == set(METHODS)


async def test_a_system_that_lists_what_it_cannot_describe_is_refused():
    system = Reflecting(DESCRIPTION, listed=("persons.v1.Nothing",))
    async with running(system):
        with pytest.raises(RegistrationInvalid, match="Nothing"):
            await reflect(system.address)


@pytest.mark.parametrize("answer", [b"\xff", None])
async def test_a_system_that_answers_nonsense_or_nothing_is_refused(answer):
    async def nonsense(context, _bodies):
        if answer is not None:
            await context.write(answer)

    system = System(nonsense)
    async with running(system):
        with pytest.raises(RegistrationInvalid, match="descriptor file"):
            await reflect(system.address)


async def test_a_system_that_is_not_there_is_unreachable():
    with pytest.raises(SystemUnreachable) as refused:
        await reflect("127.0.0.1:1")
    assert refused.value.execution is Execution.NOT_EXECUTED
