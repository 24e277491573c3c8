"""CertificationAuthorityService over gRPC, on the administrative socket."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import structlog
from grpc import StatusCode, aio

from messaging.transport import Context, Refusal, end
from messaging.wire.identifiers import member_from_pb, server_from_pb
from protos.v1.trust_services_pb2 import (
    IssueCertificateRequest,
    IssueCertificateResponse,
    ListCertificatesRequest,
    ListCertificatesResponse,
    RevokeCertificateRequest,
    RevokeCertificateResponse,
)
from protos.v1.trust_services_pb2 import IssuedCertificate as IssuedCertificatePb
from protos.v1.trust_services_pb2_grpc import (
    CertificationAuthorityServiceServicer,
    add_CertificationAuthorityServiceServicer_to_server,
)
from trust_services.authority import CertificationAuthority, IssuedCertificate
from trust_services.store import UNAVAILABLE, Store, serial_text
from vocabulary.clock import Clock
from vocabulary.faults import RegistrationInvalid
from vocabulary.identifiers import MemberId, SecurityServerId

Answer = TypeVar("Answer")

SERVICE = "ristmik.v1.CertificationAuthorityService"

log = structlog.get_logger()


class CertificationAuthorityService(CertificationAuthorityServiceServicer):
    def __init__(
        self, authority: CertificationAuthority, store: Store, clock: Clock
    ) -> None:
        self._authority = authority
        self._store = store
        self._clock = clock

    def add_to(self, server: aio.Server) -> None:
        add_CertificationAuthorityServiceServicer_to_server(self, server)

    async def IssueCertificate(
        self,
        request: IssueCertificateRequest,
        context: aio.ServicerContext[IssueCertificateRequest, IssueCertificateResponse],
    ) -> IssueCertificateResponse:
        issued = self._authority.issue(
            request.signing_request, _holder(request), request.name
        )
        # Before it leaves: what is not kept cannot be revoked.
        await _in_thread(context, lambda: self._store.add(issued))
        return IssueCertificateResponse(certificate=issued.der)

    async def ListCertificates(
        self,
        request: ListCertificatesRequest,
        context: aio.ServicerContext[ListCertificatesRequest, ListCertificatesResponse],
    ) -> ListCertificatesResponse:
        issued = await _in_thread(context, self._store.all)
        return ListCertificatesResponse(certificates=map(_to_pb, issued))

    async def RevokeCertificate(
        self,
        request: RevokeCertificateRequest,
        context: aio.ServicerContext[
            RevokeCertificateRequest, RevokeCertificateResponse
        ],
    ) -> RevokeCertificateResponse:
        # OCSP tells whole seconds.
        at = self._clock().replace(microsecond=0)
        serial = request.serial.lower().lstrip("0")
        revoked = await _in_thread(context, lambda: self._store.revoke(serial, at))
        return RevokeCertificateResponse(certificate=_to_pb(revoked))


async def _in_thread(context: Context, call: Callable[[], Answer]) -> Answer:
    try:
        return await asyncio.to_thread(call)
    except UNAVAILABLE as error:
        log.warning("database_unavailable", why=str(error))
        why = "the authority's database does not answer; nothing is known to be written"
        return await end(context, Refusal(StatusCode.UNAVAILABLE, why, ()))


def _holder(request: IssueCertificateRequest) -> MemberId | SecurityServerId:
    try:
        match request.WhichOneof("holder"):
            case "member":
                return member_from_pb(request.member)
            case "server":
                return server_from_pb(request.server)
            case None:
                raise RegistrationInvalid(
                    "a certificate for nobody; name a member or a security server"
                )
    except ValueError as error:
        raise RegistrationInvalid(str(error)) from error


def _to_pb(issued: IssuedCertificate) -> IssuedCertificatePb:
    pb = IssuedCertificatePb(
        serial=serial_text(issued.serial),
        usage=issued.usage,
        holder=issued.holder,
        certificate=issued.der,
    )
    pb.not_after.FromDatetime(issued.not_after)
    if issued.revoked_at is not None:
        pb.revoked_at.FromDatetime(issued.revoked_at)
    return pb
