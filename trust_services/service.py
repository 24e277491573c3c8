"""CertificationAuthorityService over gRPC, on the administrative socket."""

import asyncio

from grpc import aio

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
from trust_services.store import Store, serial_text
from vocabulary.clock import Clock
from vocabulary.faults import RegistrationInvalid
from vocabulary.identifiers import MemberId, SecurityServerId

SERVICE = "ristmik.v1.CertificationAuthorityService"


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
        await asyncio.to_thread(self._store.add, issued)
        return IssueCertificateResponse(certificate=issued.der)

    async def ListCertificates(
        self,
        request: ListCertificatesRequest,
        context: aio.ServicerContext[ListCertificatesRequest, ListCertificatesResponse],
    ) -> ListCertificatesResponse:
        issued = await asyncio.to_thread(self._store.all)
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
        revoked = await asyncio.to_thread(self._store.revoke, serial, at)
        return RevokeCertificateResponse(certificate=_to_pb(revoked))


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
