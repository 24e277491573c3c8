"""`ristmik client`: which subsystems call through a security server, and how."""

from typing import Annotated

import typer

from cli.connection import administration, ask, find, server_carrying
from cli.options import (
    DEFAULT_DIRECTORY,
    AsJson,
    ClientArgument,
    Directory,
    OptionalServer,
)
from cli.output import Document, Output, table
from cli.parts import ServerPart
from messaging.wire.identifiers import subsystem_from_pb, subsystem_to_pb
from protos.v1.administration_pb2 import (
    ListClientsRequest,
    LocalClient,
    SetClientRequest,
)

clients = typer.Typer(no_args_is_help=True, help="Subsystems that call.")

Plaintext = Annotated[
    bool,
    typer.Option(
        "--plaintext/--no-plaintext",
        help="Take its calls without TLS, from the server's own machine only.",
    ),
]


@clients.command(
    "set", epilog="Example: ristmik client set EE-SANDBOX/GOV/70000349/tax --plaintext"
)
def set_client(
    client: ClientArgument,
    *,
    plaintext: Plaintext = False,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Let a registered subsystem call through its security server."""
    server = server_carrying(find(directory), client)
    said = LocalClient(subsystem=subsystem_to_pb(client), plaintext_loopback=plaintext)
    with administration(server) as stub:
        ask(stub.SetClient, SetClientRequest(client=said), of=str(server.id))
    how = "also without TLS, from its machine" if plaintext else "not without TLS"
    Output(as_json=as_json).result(
        {"client": _document(said, server)},
        f"{client} calls through {server.id}, {how}",
    )


@clients.command("list", epilog="Example: ristmik client list --json")
def list_clients(
    *,
    server: OptionalServer = None,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """List the subsystems that call through all security servers, or one."""
    parts = find(directory)
    documents = []
    for part in parts.servers if server is None else [parts.server(server)]:
        with administration(part) as stub:
            answer = ask(stub.ListClients, ListClientsRequest(), of=str(part.id))
        documents += [_document(client, part) for client in answer.clients]
    rows = [
        (
            str(found["id"]),
            str(found["server"]),
            "yes" if found["plaintext_loopback"] else "no",
        )
        for found in documents
    ]
    Output(as_json=as_json).result(
        {"clients": documents}, table(["Subsystem", "Server", "Without TLS"], rows)
    )


def _document(client: LocalClient, server: ServerPart) -> Document:
    return {
        "id": str(subsystem_from_pb(client.subsystem)),
        "server": str(server.id),
        "plaintext_loopback": client.plaintext_loopback,
    }
