"""AdministrationService: what the administrator of one security server does.

Served on a Unix socket that only its owner may open. A change is in force when its call
returns, and leaves a line in the server's log.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeAlias

import structlog
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio

from ledger.record import Appended
from messaging.wire.identifiers import (
    server_to_pb,
    service_from_pb,
    service_to_pb,
    subsystem_from_pb,
    subsystem_to_pb,
)
from protos.v1 import administration_pb2 as pb
from protos.v1.administration_pb2_grpc import AdministrationServiceServicer
from protos.v1.identifier_pb2 import ServiceId as ServiceIdPb
from protos.v1.identifier_pb2 import SubsystemId as SubsystemIdPb
from security_server.administration.finding import Finding, Probe
from security_server.administration.ledger_view import LedgerSize
from security_server.reflection import Reflected
from security_server.registration.registrations import AccessRight, LocalClient
from security_server.registration.services import RegisteredService, registered_service
from security_server.registration.store import RegistrationStore
from trust.global_configuration import GlobalConfiguration
from vocabulary.faults import Fault, MemberUnknown, NotRegistered, RegistrationInvalid
from vocabulary.identifiers import SecurityServerId, ServiceId, SubsystemId

log = structlog.get_logger()

Context: TypeAlias = aio.ServicerContext[Any, Any]


class Configuration(Protocol):
    def current(self) -> GlobalConfiguration: ...

    async def refresh(self) -> GlobalConfiguration: ...


class Reflect(Protocol):
    async def __call__(self, address: str) -> Reflected: ...


class Ledger(Protocol):
    async def size(self) -> LedgerSize: ...

    async def openings(self, entries: Sequence[int]) -> int: ...


class Eraser(Protocol):
    async def erase(self, entries: Iterable[int], *, reason: str) -> Appended: ...


class AdministrationServicer(AdministrationServiceServicer):
    def __init__(
        self,
        server: SecurityServerId,
        registrations: RegistrationStore,
        configuration: Configuration,
        ledger: Ledger,
        eraser: Eraser,
        *,
        reflect: Reflect,
        probes: Sequence[Probe] = (),
    ) -> None:
        self._server = server
        self._registrations = registrations
        self._configuration = configuration
        self._ledger = ledger
        self._eraser = eraser
        self._reflect = reflect
        self._probes = probes

    async def AddService(
        self, request: pb.AddServiceRequest, context: Context
    ) -> pb.AddServiceResponse:
        service = _service(request.service)
        await self._require_carried(service.provider)
        if request.descriptors:
            described = Reflected(request.descriptors, None)
        else:
            described = await self._reflect(request.address)
        registered = registered_service(
            service,
            request.address,
            described.descriptors,
            grpc_services=described.grpc_services,
            personal=request.personal,
            request_subjects=request.request_subjects,
            response_subjects=request.response_subjects,
        )
        await self._registrations.add_service(registered)
        log.info("service added", service=str(service), address=request.address)
        return pb.AddServiceResponse(service=_service_to_pb(registered))

    async def ListServices(
        self, request: pb.ListServicesRequest, context: Context
    ) -> pb.ListServicesResponse:
        services = self._registrations.current().services
        listed = (_service_to_pb(services[service]) for service in sorted(services))
        return pb.ListServicesResponse(services=listed)

    async def RemoveService(
        self, request: pb.RemoveServiceRequest, context: Context
    ) -> pb.RemoveServiceResponse:
        service = _service(request.service)
        await self._registrations.remove_service(service)
        log.info("service removed", service=str(service))
        return pb.RemoveServiceResponse()

    async def GrantAccess(
        self, request: pb.GrantAccessRequest, context: Context
    ) -> pb.GrantAccessResponse:
        right = _right(request.right)
        await self._require_known(right.client)
        await self._registrations.grant(right)
        _log_right("access granted", right)
        return pb.GrantAccessResponse()

    async def RevokeAccess(
        self, request: pb.RevokeAccessRequest, context: Context
    ) -> pb.RevokeAccessResponse:
        right = _right(request.right)
        await self._registrations.revoke(right)
        _log_right("access revoked", right)
        return pb.RevokeAccessResponse()

    async def ListAccess(
        self, request: pb.ListAccessRequest, context: Context
    ) -> pb.ListAccessResponse:
        rights = sorted(self._registrations.current().rights)
        return pb.ListAccessResponse(rights=map(_right_to_pb, rights))

    async def SetClient(
        self, request: pb.SetClientRequest, context: Context
    ) -> pb.SetClientResponse:
        client = LocalClient(
            _subsystem(request.client.subsystem), request.client.plaintext_loopback
        )
        await self._require_carried(client.subsystem)
        await self._registrations.set_client(client)
        log.info(
            "client set",
            client=str(client.subsystem),
            plaintext_loopback=client.plaintext_loopback,
        )
        return pb.SetClientResponse()

    async def ListClients(
        self, request: pb.ListClientsRequest, context: Context
    ) -> pb.ListClientsResponse:
        clients = self._registrations.current().clients
        listed = (_client_to_pb(clients[subsystem]) for subsystem in sorted(clients))
        return pb.ListClientsResponse(clients=listed)

    async def GetStatus(
        self, request: pb.GetStatusRequest, context: Context
    ) -> pb.GetStatusResponse:
        status = pb.GetStatusResponse(security_server=server_to_pb(self._server))
        for probe in self._probes:
            status.findings.extend(map(_finding_to_pb, await probe()))
        try:
            size = await self._ledger.size()
            status.entries, status.rounds = size.entries, size.rounds
        except Fault as fault:
            found = Finding("database", ok=False, detail=fault.detail, cure=_RESTART)
            status.findings.append(_finding_to_pb(found))
        try:
            configuration = self._configuration.current()
        except Fault:
            # A finding says why; version 0 is that there is none.
            return status
        status.configuration_version = configuration.version
        expires_at = Timestamp()
        expires_at.FromDatetime(configuration.expires_at)
        status.configuration_expires_at.CopyFrom(expires_at)
        return status

    async def EraseEntries(
        self, request: pb.EraseEntriesRequest, context: Context
    ) -> pb.EraseEntriesResponse:
        if not request.reason.strip():
            raise RegistrationInvalid("an erasure is recorded with its reason: say why")
        openings = await self._ledger.openings(request.entries)
        erasure = await self._eraser.erase(request.entries, reason=request.reason)
        log.info("entries erased", entries=list(request.entries), by=erasure.seq)
        return pb.EraseEntriesResponse(erasure_entry=erasure.seq, openings=openings)

    async def _require_carried(self, subsystem: SubsystemId) -> None:
        """Raise NotRegistered for a subsystem that nobody would call here."""
        try:
            configuration = self._configuration.current()
            configuration.require_registered(subsystem, on=self._server)
        except NotRegistered:
            (await self._newest()).require_registered(subsystem, on=self._server)

    async def _require_known(self, client: SubsystemId) -> None:
        """Raise MemberUnknown for a client that does not exist: a slip of the pen."""
        if not _is_known(client, self._configuration.current()):
            newest = await self._newest()
            if not _is_known(client, newest):
                raise MemberUnknown(
                    f"{client} is not registered in {newest.instance}: look at how it "
                    "is spelled, or have it registered first"
                )

    async def _newest(self) -> GlobalConfiguration:
        """What was registered a moment ago may be in the next configuration."""
        try:
            return await self._configuration.refresh()
        except (Fault, OSError):
            return self._configuration.current()


_RESTART = "start PostgreSQL; the server recovers by itself"


def _is_known(client: SubsystemId, configuration: GlobalConfiguration) -> bool:
    member = configuration.members.get(client.member)
    return member is not None and client in member.subsystems


def _log_right(event: str, right: AccessRight) -> None:
    log.info(
        event,
        client=str(right.client),
        service=str(right.service),
        method=right.method or "all",
    )


def _service(said: ServiceIdPb) -> ServiceId:
    try:
        return service_from_pb(said)
    except ValueError as error:
        raise _malformed(error) from error


def _subsystem(said: SubsystemIdPb) -> SubsystemId:
    try:
        return subsystem_from_pb(said)
    except ValueError as error:
        raise _malformed(error) from error


def _malformed(error: ValueError) -> RegistrationInvalid:
    return RegistrationInvalid(f"{error}; mend the identifier")


def _right(said: pb.AccessRight) -> AccessRight:
    return AccessRight(_service(said.service), _subsystem(said.client), said.method)


def _right_to_pb(right: AccessRight) -> pb.AccessRight:
    return pb.AccessRight(
        service=service_to_pb(right.service),
        client=subsystem_to_pb(right.client),
        method=right.method,
    )


def _client_to_pb(client: LocalClient) -> pb.LocalClient:
    return pb.LocalClient(
        subsystem=subsystem_to_pb(client.subsystem),
        plaintext_loopback=client.plaintext_loopback,
    )


def _finding_to_pb(finding: Finding) -> pb.Finding:
    return pb.Finding(
        name=finding.name, ok=finding.ok, detail=finding.detail, cure=finding.cure
    )


def _service_to_pb(service: RegisteredService) -> pb.ProvidedService:
    description = service.description
    return pb.ProvidedService(
        service=service_to_pb(service.id),
        address=service.address,
        methods=description.methods,
        personal=service.personal,
        request_subjects=description.request_selectors,
        response_subjects=description.response_selectors,
    )
