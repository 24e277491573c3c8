"""The parts of an instance as the command line sees them, in this process."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_reflection.v1alpha import reflection

from examples.agencies.population.v1 import population_pb2
from messaging.transport import ORIGIN_KEY, refusal
from messaging.wire.identifiers import (
    member_from_pb,
    server_from_pb,
    subsystem_from_pb,
)
from protos.v1 import administration_pb2, registry_pb2, trust_services_pb2
from protos.v1.administration_pb2_grpc import AdministrationServiceServicer
from protos.v1.configuration_pb2 import RegisteredMember, RegisteredServer
from protos.v1.registry_pb2_grpc import RegistryServiceServicer
from protos.v1.trust_services_pb2_grpc import CertificationAuthorityServiceServicer
from vocabulary.faults import (
    AlreadyRegistered,
    Fault,
    LedgerUnavailable,
    RequestUnknown,
    RightUnknown,
)
from vocabulary.identifiers import SecurityServerId

GIVEN_TIME = datetime(2026, 11, 25, 7, 30, tzinfo=UTC)
SERVER = SecurityServerId.parse("EE-SANDBOX/GOV/70000349/ss1")


def timestamp() -> Timestamp:
    made = Timestamp()
    made.FromDatetime(GIVEN_TIME)
    return made


def refuse(context: grpc.ServicerContext, fault: Fault, *, origin=SERVER) -> None:
    ended = refusal(fault, origin=origin)
    before = context.trailing_metadata() or ()
    context.set_trailing_metadata((*before, *ended.trailers))
    context.abort(ended.status, ended.message)


@contextmanager
def serving(
    address: str,
    add: Callable[[grpc.Server], object],
    *interceptors: grpc.ServerInterceptor,
) -> Iterator[int]:
    server = grpc.server(ThreadPoolExecutor(4), interceptors=interceptors)
    add(server)
    port = server.add_insecure_port(address)
    server.start()
    try:
        yield port
    finally:
        server.stop(0).wait()


@dataclass
class FakeRegistry(RegistryServiceServicer):
    requests: list[registry_pb2.RegistrationRequest] = field(default_factory=list)
    asked: list[Any] = field(default_factory=list)
    members: list[RegisteredMember] = field(default_factory=list)
    servers: list[RegisteredServer] = field(default_factory=list)

    def _waiting(self, request, kind: str, subject: object, context):
        if any(waiting.subject == str(subject) for waiting in self.requests):
            refuse(context, AlreadyRegistered(f"{subject} is registered: nothing to"))
        self.asked.append(request)
        waiting = registry_pb2.RegistrationRequest(
            number=len(self.requests) + 1,
            kind=registry_pb2.RegistrationKind.Value(f"REGISTRATION_KIND_{kind}"),
            state=registry_pb2.REGISTRATION_STATE_WAITING,
            subject=str(subject),
            asked_at=timestamp(),
        )
        self.requests.append(waiting)
        return waiting

    def _decided(self, number: int, state, context):
        if number > len(self.requests):
            refuse(context, RequestUnknown(f"no request {number} waits: see the list"))
        decided = self.requests[number - 1]
        decided.state = state
        decided.decided_at.CopyFrom(timestamp())
        return decided

    def RegisterMember(self, request, context):  # noqa: N802 - named by the .proto
        subject = member_from_pb(request.id)
        waiting = self._waiting(request, "MEMBER", subject, context)
        return registry_pb2.RegisterMemberResponse(request=waiting)

    def RegisterSubsystem(self, request, context):  # noqa: N802
        subject = subsystem_from_pb(request.id)
        waiting = self._waiting(request, "SUBSYSTEM", subject, context)
        return registry_pb2.RegisterSubsystemResponse(request=waiting)

    def RegisterServer(self, request, context):  # noqa: N802
        subject = server_from_pb(request.id)
        waiting = self._waiting(request, "SERVER", subject, context)
        return registry_pb2.RegisterServerResponse(request=waiting)

    def ListRequests(self, request, context):  # noqa: N802
        waits = registry_pb2.REGISTRATION_STATE_WAITING
        found = [one for one in self.requests if request.all or one.state == waits]
        return registry_pb2.ListRequestsResponse(requests=found)

    def ApproveRequest(self, request, context):  # noqa: N802
        approved = registry_pb2.REGISTRATION_STATE_APPROVED
        decided = self._decided(request.number, approved, context)
        return registry_pb2.ApproveRequestResponse(
            request=decided, configuration_version=7
        )

    def RejectRequest(self, request, context):  # noqa: N802
        rejected = registry_pb2.REGISTRATION_STATE_REJECTED
        decided = self._decided(request.number, rejected, context)
        decided.reason = request.reason
        return registry_pb2.RejectRequestResponse(request=decided)

    def ListMembers(self, request, context):  # noqa: N802
        return registry_pb2.ListMembersResponse(members=self.members)

    def ListServers(self, request, context):  # noqa: N802
        return registry_pb2.ListServersResponse(servers=self.servers)

    def ApproveAuthority(self, request, context):  # noqa: N802
        raise AssertionError(request, context)

    def ListCode(self, request, context):  # noqa: N802
        raise AssertionError(request, context)


@dataclass
class FakeAuthority(CertificationAuthorityServiceServicer):
    issued: dict[str, trust_services_pb2.IssuedCertificate] = field(
        default_factory=dict
    )

    def IssueCertificate(self, request, context):  # noqa: N802
        raise AssertionError(request, context)

    def ListCertificates(self, request, context):  # noqa: N802
        found = list(self.issued.values())
        return trust_services_pb2.ListCertificatesResponse(certificates=found)

    def RevokeCertificate(self, request, context):  # noqa: N802
        if request.serial not in self.issued:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no serial {request.serial}")
        revoked = self.issued[request.serial]
        revoked.revoked_at.CopyFrom(timestamp())
        return trust_services_pb2.RevokeCertificateResponse(certificate=revoked)


@dataclass
class FakeAdministration(AdministrationServiceServicer):
    services: list[administration_pb2.ProvidedService] = field(default_factory=list)
    rights: list[administration_pb2.AccessRight] = field(default_factory=list)
    erased: list[administration_pb2.EraseEntriesRequest] = field(default_factory=list)
    asked: list[Any] = field(default_factory=list)
    findings: list[administration_pb2.Finding] = field(default_factory=list)
    fault: Fault | None = None

    def AddService(self, request, context):  # noqa: N802
        if self.fault is not None:
            refuse(context, self.fault)
        self.asked.append(request)
        provided = administration_pb2.ProvidedService(
            service=request.service,
            address=request.address,
            methods=["population.v1.PersonRegistry/GetPerson"],
            personal=request.personal,
            request_subjects=request.request_subjects,
            response_subjects=request.response_subjects,
        )
        self.services.append(provided)
        return administration_pb2.AddServiceResponse(service=provided)

    def ListServices(self, request, context):  # noqa: N802
        return administration_pb2.ListServicesResponse(services=self.services)

    def RemoveService(self, request, context):  # noqa: N802
        self.services = [one for one in self.services if one.service != request.service]
        return administration_pb2.RemoveServiceResponse()

    def GrantAccess(self, request, context):  # noqa: N802
        self.rights.append(request.right)
        return administration_pb2.GrantAccessResponse()

    def RevokeAccess(self, request, context):  # noqa: N802
        if request.right not in self.rights:
            refuse(context, RightUnknown("not granted: `ristmik access list`"))
        self.rights.remove(request.right)
        return administration_pb2.RevokeAccessResponse()

    def ListAccess(self, request, context):  # noqa: N802
        return administration_pb2.ListAccessResponse(rights=self.rights)

    def SetClient(self, request, context):  # noqa: N802
        raise AssertionError(request, context)

    def ListClients(self, request, context):  # noqa: N802
        raise AssertionError(request, context)

    def GetStatus(self, request, context):  # noqa: N802
        return administration_pb2.GetStatusResponse(findings=self.findings)

    def EraseEntries(self, request, context):  # noqa: N802
        if 404 in request.entries:
            refuse(context, LedgerUnavailable("no database: start PostgreSQL"))
        self.erased.append(request)
        return administration_pb2.EraseEntriesResponse(erasure_entry=99, openings=5)


Answer = Callable[[bytes, grpc.ServicerContext], bytes]


@dataclass
class FakeBus:
    """A security server's local leg: reflection, and one method of one service."""

    answer: Answer
    refusal: Fault | None = None
    described_with: list[Sequence[tuple[str, str]]] = field(default_factory=list)
    called_with: list[tuple[str, bytes, Sequence[tuple[str, str]]]] = field(
        default_factory=list
    )

    def add_to(self, server: grpc.Server) -> None:
        services = ["population.v1.PersonRegistry", reflection.SERVICE_NAME]
        reflection.enable_server_reflection(services, server)
        server.add_generic_rpc_handlers((_Calls(self),))

    def interceptor(self) -> grpc.ServerInterceptor:
        return _Describing(self)

    def call(self, method: str, request: bytes, context: grpc.ServicerContext) -> bytes:
        self.called_with.append((method, request, context.invocation_metadata()))
        context.set_trailing_metadata(
            (("ristmik-message-id", "0190-made"), ("ristmik-record", "12"))
        )
        return self.answer(request, context)


class _Calls(grpc.GenericRpcHandler):
    def __init__(self, bus: FakeBus) -> None:
        self._bus = bus

    def service(self, handler_call_details):
        method = handler_call_details.method
        if method.startswith("/grpc."):
            return None
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: self._bus.call(method, request, context)
        )


class _Describing(grpc.ServerInterceptor):
    """Refuses reflection as the bus does, if it is to be refused."""

    def __init__(self, bus: FakeBus) -> None:
        self._bus = bus

    def intercept_service(self, continuation, handler_call_details):
        if not handler_call_details.method.startswith("/grpc."):
            return continuation(handler_call_details)
        self._bus.described_with.append(handler_call_details.invocation_metadata)
        fault = self._bus.refusal
        if fault is None:
            return continuation(handler_call_details)
        return grpc.stream_stream_rpc_method_handler(
            lambda _requests, context: refuse(context, fault)
        )


def person_answer(person_id: str) -> Answer:
    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        asked = population_pb2.GetPersonRequest.FromString(request).person_id
        if asked != person_id:
            context.set_trailing_metadata(
                (*context.trailing_metadata(), (ORIGIN_KEY, "service"))
            )
            context.abort(grpc.StatusCode.NOT_FOUND, f"no person {asked}")
        return population_pb2.Person(
            id=asked, given_name="Mari", sex=population_pb2.SEX_FEMALE
        ).SerializeToString()

    return answer
