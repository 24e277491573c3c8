"""Looking at what an instance trusts: configuration, certificates, OCSP and TSA."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta

import httpx2

from cli.configuration import current_configuration
from cli.connection import ask, certification_authority
from cli.doctor.finding import Finding
from cli.failures import CommandFailure
from cli.parts import Parts
from protos.v1.trust_services_pb2 import IssuedCertificate, ListCertificatesRequest
from trust import ocsp, timestamps
from trust.certificates import Certificate, parse_certificate
from trust.global_configuration import Authority, GlobalConfiguration
from vocabulary.faults import CertificateStatusUnknown, Fault
from vocabulary.imprint import Imprint

# Time enough to have another one issued, registered and approved.
SOON = timedelta(days=14)
AUTHORITY = "the certification authority"


class TrustDiagnosis:
    """Asks the instance's authorities what a security server asks of them."""

    def __init__(self, parts: Parts, *, now: datetime) -> None:
        self._parts = parts
        self._now = now
        self._restart = (
            f"ristmik down --dir {parts.directory}; ristmik up --dir {parts.directory}"
        )

    async def findings(self) -> AsyncIterator[Finding]:
        try:
            configuration = current_configuration(self._parts, now=self._now)
        except (Fault, CommandFailure) as error:
            yield Finding(
                "global configuration",
                ok=False,
                detail=error.detail,
                cure=self._restart,
            )
            return
        left = int((configuration.expires_at - self._now).total_seconds())
        yield Finding(
            "global configuration",
            ok=True,
            detail=f"version {configuration.version} holds for {left} s",
        )
        async with httpx2.AsyncClient(trust_env=False) as client:
            for authority in configuration.time_stamping_authorities:
                yield await self._time_stamping(client, authority)
            try:
                issued = self._issued()
            except CommandFailure as failure:
                yield Finding(
                    AUTHORITY, ok=False, detail=failure.detail, cure=self._restart
                )
                return
            for one in issued:
                yield await self._certificate(client, one, configuration)

    def _issued(self) -> Sequence[IssuedCertificate]:
        """Give certificates that still count: one that was replaced has a newer one."""
        with certification_authority(self._parts.directory) as stub:
            answer = ask(stub.ListCertificates, ListCertificatesRequest(), of=AUTHORITY)
        newest = {(one.usage, one.holder): one for one in answer.certificates}
        return list(newest.values())

    async def _time_stamping(
        self, client: httpx2.AsyncClient, authority: Authority
    ) -> Finding:
        imprint = Imprint.of(b"ristmik doctor")
        try:
            token = await timestamps.fetch(client, authority.url, imprint)
            stamp = timestamps.verify_token(
                token, imprint=imprint, authorities=[authority.certificate]
            )
        except Fault as fault:
            return self._wrong(authority.name, fault)
        drift = abs((stamp.time - self._now).total_seconds())
        detail = f"gives time-stamps; its clock and this one are {drift:.0f} s apart"
        return Finding(authority.name, ok=True, detail=detail)

    async def _certificate(
        self,
        client: httpx2.AsyncClient,
        issued: IssuedCertificate,
        configuration: GlobalConfiguration,
    ) -> Finding:
        name = f"{issued.usage} certificate of {issued.holder}"
        certificate = parse_certificate(issued.certificate)
        until = certificate.x509.not_valid_after_utc
        if until - self._now < SOON:
            detail = f"serial {issued.serial} ends at {until:%Y-%m-%d %H:%M} UTC"
            return Finding(name, ok=False, detail=detail, cure=self._restart)
        authorities = configuration.certification_authorities
        try:
            status = await _status(client, certificate, authorities)
            fresh = ocsp.verify_response(
                status,
                certificate=certificate,
                issuer=_issuer(certificate, authorities).certificate,
                at=self._now,
                freshness=configuration.ocsp_freshness,
            )
        except Fault as fault:
            return self._wrong(name, fault)
        detail = f"good by OCSP of {fresh.this_update:%H:%M:%S}, ends {until:%Y-%m-%d}"
        return Finding(name, ok=True, detail=detail)

    def _wrong(self, name: str, fault: Fault) -> Finding:
        detail = f"{fault.code}: {fault.detail}"
        return Finding(name, ok=False, detail=detail, cure=self._restart)


async def _status(
    client: httpx2.AsyncClient,
    certificate: Certificate,
    authorities: Sequence[Authority],
) -> bytes:
    authority = _issuer(certificate, authorities)
    return await ocsp.fetch(
        client,
        authority.url,
        certificate=certificate,
        issuer=authority.certificate,
    )


def _issuer(certificate: Certificate, authorities: Sequence[Authority]) -> Authority:
    for authority in authorities:
        if authority.certificate.x509.subject == certificate.x509.issuer:
            return authority
    raise CertificateStatusUnknown(
        f"no approved authority has issued the certificate of {certificate.subject}:"
        " have the registry's operator approve it"
    )
