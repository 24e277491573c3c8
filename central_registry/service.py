"""RegistryService for the operator, GlobalConfigurationService for everyone.

Who may call which follows from where each is served: the first on a socket that only
the operator's account can open, the second on the public address.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TypeVar

import structlog
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import StatusCode, aio

from central_registry.members import Members
from central_registry.publisher import (
    Publisher,
    registered_members,
    registered_servers,
)
from central_registry.records import AuthorityKind, CodeList, Records
from central_registry.requests import RegistrationRequest, State
from central_registry.store import UNAVAILABLE, Store
from messaging import transport
from messaging.transport import Context, Refusal, end
from messaging.wire.identifiers import (
    member_from_pb,
    server_from_pb,
    subsystem_from_pb,
)
from protos.v1 import configuration_pb2, registry_pb2
from protos.v1.configuration_pb2_grpc import (
    GlobalConfigurationServiceServicer,
    add_GlobalConfigurationServiceServicer_to_server,
)
from protos.v1.registry_pb2_grpc import (
    RegistryServiceServicer,
    add_RegistryServiceServicer_to_server,
)
from vocabulary.clock import Clock
from vocabulary.faults import RegistrationInvalid

Answer = TypeVar("Answer")

CONFIGURATION_SERVICE = configuration_pb2.DESCRIPTOR.services_by_name[
    "GlobalConfigurationService"
].full_name
REGISTRY_SERVICE = registry_pb2.DESCRIPTOR.services_by_name["RegistryService"].full_name

log = structlog.get_logger()


def serve_publicly(server: aio.Server, publisher: Publisher) -> "Health":
    servicer = GlobalConfigurationServicer(publisher)
    add_GlobalConfigurationServiceServicer_to_server(servicer, server)
    return Health(server, CONFIGURATION_SERVICE)


def serve_the_operator(
    server: aio.Server,
    *,
    instance: str,
    store: Store,
    publisher: Publisher,
    clock: Clock,
) -> "Health":
    servicer = RegistryServicer(
        instance=instance, store=store, publisher=publisher, clock=clock
    )
    add_RegistryServiceServicer_to_server(servicer, server)
    return Health(server, REGISTRY_SERVICE)


class Health:
    """Health and reflection of a server that has one service."""

    def __init__(self, server: aio.Server, service: str) -> None:
        self._servicer = transport.add_health(server)
        self._service = service
        transport.add_reflection(server, [service])

    async def set(self, *, serving: bool) -> None:
        for service in ("", self._service):
            await transport.set_serving(
                self._servicer, serving=serving, service=service
            )


class GlobalConfigurationServicer(GlobalConfigurationServiceServicer):
    """Serves the newest configuration from memory."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._signed = b""
        self._answer = configuration_pb2.GetGlobalConfigurationResponse()

    async def GetGlobalConfiguration(
        self, request: configuration_pb2.GetGlobalConfigurationRequest, context: Context
    ) -> configuration_pb2.GetGlobalConfigurationResponse:
        newest = self._publisher.newest
        if newest is None:
            why = "nothing was published yet; see that the registry's database runs"
            await end(context, Refusal(StatusCode.UNAVAILABLE, why, ()))
        if newest.signed != self._signed:
            self._answer = configuration_pb2.GetGlobalConfigurationResponse(
                configuration=configuration_pb2.SignedConfiguration.FromString(
                    newest.signed
                )
            )
            self._signed = newest.signed
        return self._answer


class RegistryServicer(RegistryServiceServicer):
    """Asks the rules in a transaction each, in a thread."""

    def __init__(
        self, *, instance: str, store: Store, publisher: Publisher, clock: Clock
    ) -> None:
        self._instance = instance
        self._store = store
        self._publisher = publisher
        self._clock = clock

    async def RegisterMember(
        self, request: registry_pb2.RegisterMemberRequest, context: Context
    ) -> registry_pb2.RegisterMemberResponse:
        with _malformed():
            id_ = member_from_pb(request.id)
        asked = await self._ask(
            context, lambda members: members.register_member(id_, name=request.name)
        )
        return registry_pb2.RegisterMemberResponse(request=_request(asked))

    async def RegisterSubsystem(
        self, request: registry_pb2.RegisterSubsystemRequest, context: Context
    ) -> registry_pb2.RegisterSubsystemResponse:
        with _malformed():
            id_ = subsystem_from_pb(request.id)
            server = server_from_pb(request.server)
        asked = await self._ask(
            context, lambda members: members.register_subsystem(id_, server=server)
        )
        return registry_pb2.RegisterSubsystemResponse(request=_request(asked))

    async def RegisterServer(
        self, request: registry_pb2.RegisterServerRequest, context: Context
    ) -> registry_pb2.RegisterServerResponse:
        with _malformed():
            id_ = server_from_pb(request.id)
        asked = await self._ask(
            context,
            lambda members: members.register_server(
                id_,
                address=request.address,
                certificate=request.authentication_certificate,
                checkpoint_key=request.checkpoint_key,
            ),
        )
        return registry_pb2.RegisterServerResponse(request=_request(asked))

    async def ListRequests(
        self, request: registry_pb2.ListRequestsRequest, context: Context
    ) -> registry_pb2.ListRequestsResponse:
        states = tuple(State) if request.all else (State.WAITING,)
        found = await self._read(context, lambda records: records.requests(*states))
        return registry_pb2.ListRequestsResponse(requests=map(_request, found))

    async def ApproveRequest(
        self, request: registry_pb2.ApproveRequestRequest, context: Context
    ) -> registry_pb2.ApproveRequestResponse:
        approved, version = await self._change(
            context, lambda members: members.approve(request.number)
        )
        log.info("approved", request=approved.number, subject=approved.asked.subject)
        return registry_pb2.ApproveRequestResponse(
            request=_request(approved), configuration_version=version
        )

    async def RejectRequest(
        self, request: registry_pb2.RejectRequestRequest, context: Context
    ) -> registry_pb2.RejectRequestResponse:
        rejected = await self._ask(
            context,
            lambda members: members.reject(request.number, reason=request.reason),
        )
        log.info("rejected", request=rejected.number, subject=rejected.asked.subject)
        return registry_pb2.RejectRequestResponse(request=_request(rejected))

    async def ListMembers(
        self, request: registry_pb2.ListMembersRequest, context: Context
    ) -> registry_pb2.ListMembersResponse:
        found = await self._read(context, lambda records: records.members())
        return registry_pb2.ListMembersResponse(members=registered_members(found))

    async def ListServers(
        self, request: registry_pb2.ListServersRequest, context: Context
    ) -> registry_pb2.ListServersResponse:
        found = await self._read(context, lambda records: records.servers())
        return registry_pb2.ListServersResponse(servers=registered_servers(found))

    async def ApproveAuthority(
        self, request: registry_pb2.ApproveAuthorityRequest, context: Context
    ) -> registry_pb2.ApproveAuthorityResponse:
        with _malformed():
            name = registry_pb2.AuthorityKind.Name(request.kind)
            kind = AuthorityKind(name.removeprefix("AUTHORITY_KIND_"))
        authority = request.authority
        _, version = await self._change(
            context,
            lambda members: members.approve_authority(
                kind,
                name=authority.name,
                certificate=authority.certificate,
                url=authority.url,
            ),
        )
        log.info("authority_approved", kind=kind, name=authority.name)
        return registry_pb2.ApproveAuthorityResponse(configuration_version=version)

    async def ListCode(
        self, request: registry_pb2.ListCodeRequest, context: Context
    ) -> registry_pb2.ListCodeResponse:
        with _malformed():
            name = registry_pb2.CodeList.Name(request.list)
            codes = CodeList(name.removeprefix("CODE_LIST_"))
        code = request.code
        _, version = await self._change(
            context,
            lambda members: members.list_code(code.code, in_=codes, name=code.name),
        )
        log.info("code_listed", list=codes, code=code.code)
        return registry_pb2.ListCodeResponse(configuration_version=version)

    async def _ask(
        self, context: Context, question: Callable[[Members], Answer]
    ) -> Answer:
        """Write what leaves the global configuration as it is."""

        def ask() -> Answer:
            with self._store.writing() as connection:
                records = Records(connection)
                return question(Members(self._instance, records, self._clock()))

        return await _in_thread(context, ask)

    async def _change(
        self, context: Context, change: Callable[[Members], Answer]
    ) -> tuple[Answer, int]:
        """Write what the next global configuration says, and publish that."""
        return await _in_thread(context, lambda: self._publisher.change(change))

    async def _read(
        self, context: Context, question: Callable[[Records], Answer]
    ) -> Answer:
        def read() -> Answer:
            with self._store.reading() as connection:
                return question(Records(connection))

        return await _in_thread(context, read)


async def _in_thread(context: Context, call: Callable[[], Answer]) -> Answer:
    try:
        return await asyncio.to_thread(call)
    except UNAVAILABLE as error:
        log.warning("database_unavailable", why=str(error))
        why = "the registry's database does not answer; nothing is known to be written"
        return await end(context, Refusal(StatusCode.UNAVAILABLE, why, ()))


@contextmanager
def _malformed() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise RegistrationInvalid(f"{error}; correct it and ask again") from error


def _request(request: RegistrationRequest) -> registry_pb2.RegistrationRequest:
    decided_at = request.decided_at
    return registry_pb2.RegistrationRequest(
        number=request.number,
        kind=registry_pb2.RegistrationKind.Value(
            f"REGISTRATION_KIND_{request.asked.kind}"
        ),
        state=registry_pb2.RegistrationState.Value(
            f"REGISTRATION_STATE_{request.state}"
        ),
        subject=request.asked.subject,
        asked_at=_timestamp(request.asked_at),
        decided_at=_timestamp(decided_at) if decided_at else None,
        reason=request.reason,
    )


def _timestamp(moment: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp
