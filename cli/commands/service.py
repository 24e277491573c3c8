"""`ristmik service`: what the subsystems behind a security server offer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from cli.connection import administration, ask, find, server_carrying
from cli.failures import Misused
from cli.options import (
    DEFAULT_DIRECTORY,
    AsJson,
    Directory,
    OptionalServer,
    ServiceArgument,
)
from cli.output import Document, Output, table
from cli.parts import Parts, ServerPart
from messaging.wire.identifiers import service_from_pb, service_to_pb
from protos.v1.administration_pb2 import (
    AddServiceRequest,
    ListServicesRequest,
    ProvidedService,
    RemoveServiceRequest,
)
from vocabulary.identifiers import SecurityServerId

services = typer.Typer(no_args_is_help=True, help="Services that subsystems offer.")

_FIELD_HELP = " that names a person, such as GetPersonRequest.person_id (repeatable)."

Address = Annotated[
    str, typer.Option("--address", metavar="HOST:PORT", help="The member's own system.")
]
Descriptors = Annotated[
    Path | None,
    typer.Option(
        "--descriptors",
        metavar="FILE",
        help="Serialised FileDescriptorSet; asked of the system if not given.",
    ),
]
Personal = Annotated[
    bool, typer.Option("--personal", help="It holds data about persons.")
]
RequestSubjects = Annotated[
    list[str] | None,
    typer.Option(
        "--request-subject", metavar="FIELD", help="Field of a request" + _FIELD_HELP
    ),
]
ResponseSubjects = Annotated[
    list[str] | None,
    typer.Option(
        "--response-subject", metavar="FIELD", help="Field of a response" + _FIELD_HELP
    ),
]


@services.command(
    "add",
    epilog="Example: ristmik service add"
    " EE-SANDBOX/GOV/70008440/population/persons/v1 --address 127.0.0.1:50051"
    " --personal --request-subject GetPersonRequest.person_id"
    " --response-subject Person.id",
)
def add_service(
    service: ServiceArgument,
    *,
    address: Address,
    descriptors: Descriptors = None,
    personal: Personal = False,
    request_subject: RequestSubjects = None,
    response_subject: ResponseSubjects = None,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Register a service from its descriptors, or register it anew."""
    server = server_carrying(find(directory), service.provider)
    request = AddServiceRequest(
        service=service_to_pb(service),
        address=address,
        descriptors=_content(descriptors) if descriptors else b"",
        personal=personal,
        request_subjects=request_subject or [],
        response_subjects=response_subject or [],
    )
    with administration(server) as stub:
        answer = ask(stub.AddService, request, of=str(server.id))
    methods = ", ".join(answer.service.methods)
    Output(as_json=as_json).result(
        {"service": service_document(answer.service, on=server.id)},
        f"{service} is registered on {server.id} with {methods}; let a client in with"
        f" `ristmik access grant {service} CLIENT`",
    )


@services.command("list", epilog="Example: ristmik service list --json")
def list_services(
    *,
    server: OptionalServer = None,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """List the registered services of all security servers, or of one."""
    documents, rows = [], []
    for part, service in services_of(find(directory), server):
        documents.append(service_document(service, on=part.id))
        rows.append(
            (
                str(service_from_pb(service.service)),
                service.address,
                "personal" if service.personal else "",
                ", ".join(service.methods),
            )
        )
    Output(as_json=as_json).result(
        {"services": documents}, table(["Service", "Address", "", "Methods"], rows)
    )


@services.command(
    "remove",
    epilog="Example: ristmik service remove"
    " EE-SANDBOX/GOV/70008440/population/persons/v1",
)
def remove_service(
    service: ServiceArgument,
    *,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Remove a service and the rights to it."""
    server = server_carrying(find(directory), service.provider)
    request = RemoveServiceRequest(service=service_to_pb(service))
    with administration(server) as stub:
        ask(stub.RemoveService, request, of=str(server.id))
    Output(as_json=as_json).result(
        {"removed": str(service), "server": str(server.id)},
        f"{service} and the rights to it are removed from {server.id}",
    )


def services_of(
    parts: Parts, server: SecurityServerId | None
) -> Iterator[tuple[ServerPart, ProvidedService]]:
    """Give the services that each server has registered."""
    for part in parts.servers if server is None else [parts.server(server)]:
        with administration(part) as stub:
            answer = ask(stub.ListServices, ListServicesRequest(), of=str(part.id))
        for service in answer.services:
            yield part, service


def service_document(service: ProvidedService, *, on: SecurityServerId) -> Document:
    return {
        "id": str(service_from_pb(service.service)),
        "server": str(on),
        "address": service.address,
        "methods": list(service.methods),
        "personal": service.personal,
        "request_subjects": list(service.request_subjects),
        "response_subjects": list(service.response_subjects),
    }


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Misused(f"{path} cannot be read: {error.strerror}") from error
