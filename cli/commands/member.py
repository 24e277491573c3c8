"""`ristmik member` and `ristmik subsystem`: who belongs to the instance."""

from typing import Annotated

import typer

from cli.commands.requests import show_request
from cli.connection import REGISTRY, ask, registry
from cli.options import (
    DEFAULT_DIRECTORY,
    AsJson,
    Directory,
    MemberArgument,
    ServerOption,
    SubsystemArgument,
)
from cli.output import Output, table
from messaging.wire.identifiers import (
    member_from_pb,
    member_to_pb,
    server_from_pb,
    server_to_pb,
    subsystem_from_pb,
    subsystem_to_pb,
)
from protos.v1.registry_pb2 import (
    ListMembersRequest,
    ListServersRequest,
    RegisterMemberRequest,
    RegisterSubsystemRequest,
)

members = typer.Typer(no_args_is_help=True, help="Members of the instance.")
subsystems = typer.Typer(no_args_is_help=True, help="Members' information systems.")


@members.command(
    "register",
    epilog="Example: ristmik member register EE-SANDBOX/GOV/70003158"
    " --name 'Land Board'",
)
def register_member(
    member: MemberArgument,
    *,
    name: Annotated[str, typer.Option("--name", help="Its name, for people.")],
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Ask the central registry to register a member."""
    request = RegisterMemberRequest(id=member_to_pb(member), name=name)
    with registry(directory) as stub:
        answer = ask(stub.RegisterMember, request, of=REGISTRY)
    show_request(answer.request, Output(as_json=as_json))


@members.command("list", epilog="Example: ristmik member list --json")
def list_members(
    *, directory: Directory = DEFAULT_DIRECTORY, as_json: AsJson = False
) -> None:
    """List the members that the central registry has approved."""
    with registry(directory) as stub:
        answer = ask(stub.ListMembers, ListMembersRequest(), of=REGISTRY)
    found = [
        {
            "id": str(member_from_pb(member.id)),
            "name": member.name,
            "subsystems": [str(subsystem_from_pb(pb)) for pb in member.subsystems],
        }
        for member in answer.members
    ]
    rows = [
        (
            str(member_from_pb(member.id)),
            member.name,
            ", ".join(pb.subsystem_code for pb in member.subsystems),
        )
        for member in answer.members
    ]
    Output(as_json=as_json).result(
        {"members": found}, table(["Member", "Name", "Subsystems"], rows)
    )


@subsystems.command(
    "register",
    epilog="Example: ristmik subsystem register EE-SANDBOX/GOV/70000349/audit"
    " --server EE-SANDBOX/GOV/70000349/ss1",
)
def register_subsystem(
    subsystem: SubsystemArgument,
    *,
    server: ServerOption,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Ask the central registry to register a subsystem on a security server."""
    request = RegisterSubsystemRequest(
        id=subsystem_to_pb(subsystem), server=server_to_pb(server)
    )
    with registry(directory) as stub:
        answer = ask(stub.RegisterSubsystem, request, of=REGISTRY)
    show_request(answer.request, Output(as_json=as_json))


@subsystems.command("list", epilog="Example: ristmik subsystem list --json")
def list_subsystems(
    *, directory: Directory = DEFAULT_DIRECTORY, as_json: AsJson = False
) -> None:
    """List the subsystems and the security servers that carry them."""
    with registry(directory) as stub:
        listed = ask(stub.ListMembers, ListMembersRequest(), of=REGISTRY)
        servers = ask(stub.ListServers, ListServersRequest(), of=REGISTRY).servers
    carried: dict[str, list[str]] = {
        str(subsystem_from_pb(pb)): []
        for member in listed.members
        for pb in member.subsystems
    }
    for server in servers:
        for pb in server.subsystems:
            subsystem = str(subsystem_from_pb(pb))
            carried.setdefault(subsystem, []).append(str(server_from_pb(server.id)))
    Output(as_json=as_json).result(
        {"subsystems": [{"id": id_, "servers": on} for id_, on in carried.items()]},
        table(
            ["Subsystem", "Security servers"],
            [(id_, ", ".join(on)) for id_, on in carried.items()],
        ),
    )
