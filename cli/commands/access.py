"""`ristmik access`: which subsystem may call which service."""

from typing import Annotated

import typer

from cli.connection import administration, ask, find, server_carrying
from cli.failures import Refused
from cli.options import (
    DEFAULT_DIRECTORY,
    AsJson,
    ClientArgument,
    Directory,
    OptionalServer,
    ServiceArgument,
)
from cli.output import Document, Output, table
from cli.parts import ServerPart
from messaging.wire.identifiers import (
    service_from_pb,
    service_to_pb,
    subsystem_from_pb,
    subsystem_to_pb,
)
from protos.v1.administration_pb2 import (
    AccessRight,
    GrantAccessRequest,
    ListAccessRequest,
    ListServicesRequest,
    RevokeAccessRequest,
)
from protos.v1.administration_pb2_grpc import AdministrationServiceStub
from vocabulary.identifiers import ServiceId, SubsystemId

access = typer.Typer(no_args_is_help=True, help="Rights to call services.")

Method = Annotated[
    str | None,
    typer.Option(
        "--method", metavar="M", help="Only this method, short or full; else all."
    ),
]


@access.command(
    "grant",
    epilog="Example: ristmik access grant"
    " EE-SANDBOX/GOV/70008440/population/persons/v1 EE-SANDBOX/GOV/70000349/tax"
    " --method GetPerson",
)
def grant(
    service: ServiceArgument,
    client: ClientArgument,
    *,
    method: Method = None,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Grant a client the right to a service, or to one method of it."""
    server = server_carrying(find(directory), service.provider)
    with administration(server) as stub:
        right = _right(stub, server, service, client, method)
        ask(stub.GrantAccess, GrantAccessRequest(right=right), of=str(server.id))
    Output(as_json=as_json).result(
        {"granted": right_document(right, server)},
        f"{client} may call {right.method or 'every method'} of {service}",
    )


@access.command(
    "revoke",
    epilog="Example: ristmik access revoke"
    " EE-SANDBOX/GOV/70008440/population/persons/v1 EE-SANDBOX/GOV/70000349/tax",
)
def revoke(
    service: ServiceArgument,
    client: ClientArgument,
    *,
    method: Method = None,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Take a right back, as it was granted."""
    server = server_carrying(find(directory), service.provider)
    with administration(server) as stub:
        right = _right(stub, server, service, client, method)
        ask(stub.RevokeAccess, RevokeAccessRequest(right=right), of=str(server.id))
    Output(as_json=as_json).result(
        {"revoked": right_document(right, server)},
        f"{client} has no longer the right to {right.method or service}",
    )


@access.command("list", epilog="Example: ristmik access list --json")
def list_access(
    *,
    server: OptionalServer = None,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """List the rights that all security servers have granted, or one."""
    parts = find(directory)
    documents = []
    for part in parts.servers if server is None else [parts.server(server)]:
        with administration(part) as stub:
            answer = ask(stub.ListAccess, ListAccessRequest(), of=str(part.id))
        documents += [right_document(right, part) for right in answer.rights]
    rows = [
        (str(found["service"]), str(found["client"]), str(found["method"] or "all"))
        for found in documents
    ]
    Output(as_json=as_json).result(
        {"rights": documents}, table(["Service", "Client", "Method"], rows)
    )


def right_document(right: AccessRight, server: ServerPart) -> Document:
    """Give a right as JSON has it; method null means every method."""
    return {
        "service": str(service_from_pb(right.service)),
        "client": str(subsystem_from_pb(right.client)),
        "method": right.method or None,
        "server": str(server.id),
    }


def _right(
    stub: AdministrationServiceStub,
    server: ServerPart,
    service: ServiceId,
    client: SubsystemId,
    method: str | None,
) -> AccessRight:
    if method and "/" not in method:
        method = _full_name(stub, server, service, method)
    return AccessRight(
        service=service_to_pb(service),
        client=subsystem_to_pb(client),
        method=(method or "").removeprefix("/"),
    )


def _full_name(
    stub: AdministrationServiceStub, server: ServerPart, service: ServiceId, short: str
) -> str:
    """Find the one method of a service with a short name such as "GetPerson"."""
    listed = ask(stub.ListServices, ListServicesRequest(), of=str(server.id))
    methods = [
        method
        for provided in listed.services
        if provided.service == service_to_pb(service)
        for method in provided.methods
    ]
    if not methods:
        raise Refused(
            "SERVICE_UNKNOWN",
            f"{service} is not registered on {server.id}: register it with"
            f" `ristmik service add {service} --address HOST:PORT`",
        )
    found = [method for method in methods if method.endswith(f"/{short}")]
    if len(found) != 1:
        raise Refused(
            "METHOD_UNKNOWN",
            f"{short} names {len(found)} methods of {service}; name one in full:"
            f" {', '.join(methods)}",
        )
    return found[0]
