"""Reaching the parts of an instance over gRPC, and what it means when one refuses."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar, cast

import grpc

from cli.failures import OutOfReach, Refused
from cli.parts import Parts, ServerPart
from messaging.transport import OPTIONS, fault_of_status
from messaging.wire.identifiers import server_from_pb, subsystem_to_pb
from protos.v1.administration_pb2_grpc import AdministrationServiceStub
from protos.v1.registry_pb2 import ListServersRequest
from protos.v1.registry_pb2_grpc import RegistryServiceStub
from protos.v1.trust_services_pb2_grpc import CertificationAuthorityServiceStub
from vocabulary.identifiers import SubsystemId

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")

# An administrative call writes a row or two and may publish a configuration.
TIMEOUT_S = 20
INSTANCE_FILE = "instance.json"
REGISTRY = "the central registry"


@contextmanager
def channel_to(target: str) -> Iterator[grpc.Channel]:
    """Open a channel to an address or a Unix socket of this machine."""
    # A proxy set in the environment must not see calls within the machine.
    options = (*OPTIONS, ("grpc.enable_http_proxy", 0))
    with grpc.insecure_channel(target, options=options) as channel:
        yield channel


def ask(
    method: "grpc.UnaryUnaryMultiCallable[RequestT, ResponseT]",
    request: RequestT,
    *,
    of: str,
) -> ResponseT:
    """Call an administrative method of `of`, such as "the registry"."""
    try:
        return method(request, timeout=TIMEOUT_S)
    except grpc.RpcError as error:
        # What a stub raises is always the ended call too; grpc's types do not know.
        raise failure_of(cast("grpc.Call", error), of=of) from error


def failure_of(call: grpc.Call, *, of: str) -> OutOfReach | Refused:
    """Name what a call ended with; a part whose own parts are down is out of reach."""
    fault = fault_of_status(call.trailing_metadata())
    unavailable = call.code() is grpc.StatusCode.UNAVAILABLE
    if fault is not None:
        if unavailable:
            return OutOfReach(fault.detail, code=fault.code)
        return Refused(fault.code, fault.detail)
    if unavailable or call.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return OutOfReach(
            f"{of} does not answer; `ristmik doctor` says why, and"
            " `ristmik up` starts the instance if it is down"
        )
    return Refused(call.code().name, f"{of} refused: {call.details()}")


def find(directory: Path) -> Parts:
    """Read what the instance in a directory consists of."""
    path = directory / INSTANCE_FILE
    try:
        document = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise OutOfReach(
            f"there is no instance in {directory}: start one with"
            f" `ristmik up --dir {directory}`, or name another directory with --dir"
        ) from error
    except PermissionError as error:
        raise OutOfReach(
            f"{path} may be read by its owner only: run the command as that user"
        ) from error
    try:
        return Parts.parse(document, directory=directory)
    except ValueError as error:
        raise OutOfReach(
            f"{path} cannot be read ({error}): write it again with `ristmik down`"
            " and `ristmik up`"
        ) from error


@contextmanager
def registry(directory: Path) -> Iterator[RegistryServiceStub]:
    """Reach the registry's administrative socket."""
    with channel_to(find(directory).registry_admin) as channel:
        yield RegistryServiceStub(channel)


@contextmanager
def certification_authority(
    directory: Path,
) -> Iterator[CertificationAuthorityServiceStub]:
    """Reach the administrative socket of the sandbox's certification authority."""
    with channel_to(find(directory).trust_admin) as channel:
        yield CertificationAuthorityServiceStub(channel)


@contextmanager
def administration(server: ServerPart) -> Iterator[AdministrationServiceStub]:
    """Reach the administrative socket of one security server."""
    with channel_to(server.admin) as channel:
        yield AdministrationServiceStub(channel)


def server_carrying(parts: Parts, subsystem: SubsystemId) -> ServerPart:
    """Find the server that carries a subsystem: by the instance, then by the registry.

    Where neither knows, it is the member's own server, which then says so itself.
    """
    if (known := parts.carrier(subsystem)) is not None:
        return known
    with channel_to(parts.registry_admin) as channel:
        stub = RegistryServiceStub(channel)
        listed = ask(stub.ListServers, ListServersRequest(), of=REGISTRY)
    carrying = {
        server_from_pb(server.id)
        for server in listed.servers
        if subsystem_to_pb(subsystem) in server.subsystems
    }
    for part in parts.servers:
        if part.id in carrying:
            return part
    for part in parts.servers:
        if part.id.owner == subsystem.member:
            return part
    raise Refused(
        "MEMBER_UNKNOWN",
        f"no security server of this instance carries {subsystem}: register it with"
        f" `ristmik subsystem register {subsystem} --server ID`",
    )
