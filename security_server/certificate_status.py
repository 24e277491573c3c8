"""The status of certificates that matter here, asked for again and again, and kept.

Nothing on the hot path waits for a responder: what is asked is answered from what is
held. Responses are kept on disk, so that a restart during an outage forgets nothing.
"""

import asyncio
import random
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx2
import structlog

from messaging.signers import Configured
from messaging.signing import Credential
from trust.certificates import Certificate
from trust.global_configuration import GlobalConfiguration
from trust.keys import SigningKey
from trust.ocsp import CertificateStatus, fetch, verify_response
from vocabulary.clock import Clock
from vocabulary.durable import replace_file
from vocabulary.faults import CertificateRevoked, CertificateStatusUnknown, Fault

log = structlog.get_logger()

# After a failure, whatever the instance's interval is.
RETRY_S = 5.0


@dataclass(slots=True)
class _Watched:
    certificate: Certificate
    issuer: Certificate
    status: CertificateStatus | None = None
    revoked: CertificateRevoked | None = None
    revocation_learnt_at: datetime | None = None


class CertificateStatuses:
    def __init__(
        self,
        configuration: Configured,
        directory: Path,
        client: httpx2.AsyncClient,
        clock: Clock,
    ) -> None:
        self._configuration = configuration
        self._directory = directory
        self._client = client
        self._clock = clock
        self._watched: dict[bytes, _Watched] = {}
        self._changed = asyncio.Event()

    def watch(self, certificate: Certificate, issuer: Certificate) -> None:
        """Keep the status of `certificate` known from now on."""
        if certificate.thumbprint in self._watched:
            return
        self._watched[certificate.thumbprint] = _Watched(certificate, issuer)
        path = self._path(certificate)
        if path.exists():
            self.learn(certificate, path.read_bytes(), store=False)
        self._changed.set()

    def learn(
        self, certificate: Certificate, response: bytes, *, store: bool = True
    ) -> None:
        """Take a response, if it is believed and newer than what is held."""
        try:
            self.believe(certificate, response, store=store)
        except CertificateRevoked:
            # Remembered: `status` says so from now on.
            return
        except Fault as fault:
            log.warning("ocsp response not believed", fault=fault.detail)

    def believe(
        self, certificate: Certificate, response: bytes, *, store: bool = True
    ) -> None:
        """Take a response; raise the fault of one that does not say good and is fresh.

        What a peer staples may be older than a revocation that was learnt here, so
        `status` has the last word.
        """
        watched, now = self._watched[certificate.thumbprint], self._clock()
        try:
            status = self._verify(watched, response, now)
        except CertificateRevoked as fault:
            watched.revoked, watched.revocation_learnt_at = fault, now
            raise
        held, revoked_at = watched.status, watched.revocation_learnt_at
        if revoked_at is not None and status.this_update <= revoked_at:
            return
        if held is None or held.this_update <= status.this_update:
            watched.status, watched.revoked = status, None
            watched.revocation_learnt_at = None
            if store:
                self._store(certificate, response)

    def status(self, certificate: Certificate) -> CertificateStatus:
        """Raise CertificateRevoked, or CertificateStatusUnknown if none is fresh."""
        watched = self._watched[certificate.thumbprint]
        if watched.revoked is not None:
            raise CertificateRevoked(watched.revoked.detail)
        if watched.status is None:
            raise CertificateStatusUnknown(
                f"no OCSP response for {certificate.subject} has been had yet; "
                "see that the OCSP responder can be reached"
            )
        if self._clock() > watched.status.fresh_until:
            raise CertificateStatusUnknown(
                f"the OCSP response for {certificate.subject} is stale since "
                f"{watched.status.fresh_until:%H:%M:%S}; "
                "see that the OCSP responder can be reached"
            )
        return watched.status

    async def refresh(self) -> None:
        """Ask for all that is watched, at the same time."""
        await asyncio.gather(*map(self._refresh, list(self._watched.values())))

    async def run(self) -> None:
        while True:
            self._changed.clear()
            await self.refresh()
            try:
                async with asyncio.timeout(self._pause_s()):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _pause_s(self) -> float:
        if any(watched.status is None for watched in self._watched.values()):
            return min(RETRY_S, 1.0)
        try:
            interval = self._configuration.current().ocsp_fetch_interval
        except Fault:
            return RETRY_S
        # Jitter: servers that start together do not ask together for ever.
        return interval.total_seconds() * random.uniform(0.8, 1.0)  # noqa: S311 - no secret

    async def _refresh(self, watched: _Watched) -> None:
        try:
            url = _responder(self._configuration.current(), watched.issuer)
            response = await fetch(
                self._client,
                url,
                certificate=watched.certificate,
                issuer=watched.issuer,
            )
        except Fault as fault:
            log.warning("ocsp", certificate=watched.certificate.subject, why=str(fault))
        else:
            self.learn(watched.certificate, response)

    def _verify(
        self, watched: _Watched, response: bytes, at: datetime
    ) -> CertificateStatus:
        return verify_response(
            response,
            certificate=watched.certificate,
            issuer=watched.issuer,
            at=at,
            freshness=self._configuration.current().ocsp_freshness,
        )

    def _store(self, certificate: Certificate, response: bytes) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(self._path(certificate), response)

    def _path(self, certificate: Certificate) -> Path:
        return self._directory / f"{certificate.thumbprint.hex()}.ocsp"


class MemberCredential:
    """This member's signing key with its certificate and that certificate's status."""

    def __init__(
        self,
        key: SigningKey,
        certificate: Certificate,
        chain: tuple[Certificate, ...],
        statuses: CertificateStatuses,
    ) -> None:
        self._key = key
        self._certificate = certificate
        self._chain = chain
        self._statuses = statuses

    def credential(self) -> Credential:
        """Raise CertificateRevoked or CertificateStatusUnknown where none would do."""
        status = self._statuses.status(self._certificate)
        return Credential(self._key, self._certificate, self._chain, status)


def _responder(configuration: GlobalConfiguration, issuer: Certificate) -> str:
    for authority in configuration.certification_authorities:
        if authority.certificate.thumbprint == issuer.thumbprint:
            return authority.url
    raise CertificateStatusUnknown(
        f"{issuer.subject} is not an approved CA with an OCSP responder; "
        "have the registry's operator approve it"
    )
