"""What this server finds when it looks at itself: whether each thing is well.

A probe never raises: what goes wrong is what it finds.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol, TypeAlias

from messaging.signers import Configured
from security_server.registration.registrations import Registrations
from trust.certificates import Certificate
from vocabulary.faults import Fault

CONNECT_TIMEOUT_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Finding:
    name: str
    ok: bool
    detail: str
    # What to do; empty if it is well.
    cure: str = ""


Probe: TypeAlias = Callable[[], Awaitable[Iterable[Finding]]]


class Configuration(Configured, Protocol):
    """A global configuration that is asked for again and again."""

    @property
    def last_failure(self) -> Exception | None: ...


class Outage(Protocol):
    @property
    def unavailable(self) -> str | None:
        """Why nothing can be recorded; None if it can."""


class Stamping(Protocol):
    @property
    def last_failure(self) -> str | None: ...


class Statuses(Protocol):
    def status(self, certificate: Certificate) -> object:
        """Raise CertificateRevoked or CertificateStatusUnknown."""


def configuration_probe(configuration: Configuration) -> Probe:
    async def probe() -> list[Finding]:
        name, cure = "global configuration", "see that the registry runs: ristmik up"
        try:
            held = configuration.current()
        except Fault as fault:
            return [Finding(name, ok=False, detail=fault.detail, cure=cure)]
        until = _moment(held.expires_at)
        detail = f"version {held.version}, which holds until {until}"
        failure = configuration.last_failure
        if failure is not None:
            detail = f"{detail}, but a newer one could not be had: {failure}"
            return [Finding(name, ok=False, detail=detail, cure=cure)]
        return [Finding(name, ok=True, detail=detail)]

    return probe


def ledger_probe(ledger: Outage) -> Probe:
    async def probe() -> list[Finding]:
        outage = ledger.unavailable
        if outage is None:
            return [Finding("ledger", ok=True, detail="takes records")]
        cure = "start PostgreSQL; the server recovers by itself"
        return [Finding("ledger", ok=False, detail=outage, cure=cure)]

    return probe


def time_stamp_probe(rounds: Stamping) -> Probe:
    async def probe() -> list[Finding]:
        failure = rounds.last_failure
        if failure is None:
            return [Finding("time-stamps", ok=True, detail="come when they are due")]
        cure = "see that an approved time-stamping authority can be reached"
        return [Finding("time-stamps", ok=False, detail=failure, cure=cure)]

    return probe


def certificate_probe(statuses: Statuses, certificates: Sequence[Certificate]) -> Probe:
    def look(certificate: Certificate) -> Finding:
        name = f"certificate of {certificate.subject}"
        try:
            statuses.status(certificate)
        except Fault as fault:
            cure = (
                "see that the OCSP responder can be reached, or have a new one issued"
            )
            return Finding(name, ok=False, detail=fault.detail, cure=cure)
        return Finding(name, ok=True, detail="is good, says its CA")

    async def probe() -> list[Finding]:
        return [look(certificate) for certificate in certificates]

    return probe


def system_probe(registrations: Callable[[], Registrations]) -> Probe:
    async def look(address: str, services: list[str]) -> Finding:
        name = f"system at {address}"
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, writer = await asyncio.open_connection(*_host_and_port(address))
        except OSError as error:
            # TimeoutError is one of them.
            return Finding(
                name,
                ok=False,
                detail=f"does not listen ({str(error) or 'no answer in time'}), so "
                f"{', '.join(services)} cannot be called",
                cure="start it, or register its address anew: ristmik service add",
            )
        writer.close()
        return Finding(name, ok=True, detail=f"listens, for {', '.join(services)}")

    async def probe() -> list[Finding]:
        behind: dict[str, list[str]] = {}
        for service in registrations().services.values():
            behind.setdefault(service.address, []).append(str(service.id))
        return await asyncio.gather(*(look(*each) for each in sorted(behind.items())))

    return probe


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
