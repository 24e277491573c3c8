"""Who may call, which services there are, and who has a right to them. Pure.

One moment of what the administrator has registered; the store swaps in the next one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, Self

from security_server.registration.services import RegisteredService
from vocabulary.faults import AccessDenied, ClientUnknown, ServiceUnknown
from vocabulary.identifiers import ServiceId, SubsystemId


@dataclass(frozen=True, slots=True)
class LocalClient:
    """A subsystem that calls through this server, and how it may reach it."""

    subsystem: SubsystemId
    plaintext_loopback: bool


@dataclass(frozen=True, slots=True, order=True)
class AccessRight:
    """A client's right to a service, or to one of its methods."""

    service: ServiceId
    client: SubsystemId
    # Full method name; empty for all methods.
    method: str = ""


class Registered(Protocol):
    """What one security server has been told by its administrator."""

    def service(self, service: ServiceId) -> RegisteredService:
        """Raise ServiceUnknown."""
        ...

    def require_right(
        self, client: SubsystemId, service: ServiceId, method: str
    ) -> None:
        """Raise AccessDenied unless a right to the service or method was granted."""
        ...

    def require_client(self, client: SubsystemId, *, plaintext: bool) -> None:
        """Raise ClientUnknown unless this server takes calls of `client` that way."""
        ...


@dataclass(frozen=True, slots=True)
class Registrations:
    """All of it as it was at one moment."""

    clients: Mapping[SubsystemId, LocalClient]
    services: Mapping[ServiceId, RegisteredService]
    rights: frozenset[AccessRight]

    @classmethod
    def of(
        cls,
        clients: Iterable[LocalClient] = (),
        services: Iterable[RegisteredService] = (),
        rights: Iterable[AccessRight] = (),
    ) -> Self:
        return cls(
            {client.subsystem: client for client in clients},
            {service.id: service for service in services},
            frozenset(rights),
        )

    def service(self, service: ServiceId) -> RegisteredService:
        try:
            return self.services[service]
        except KeyError:
            raise ServiceUnknown(
                f"{service} is not registered here: look at the name and version, or "
                "ask its provider"
            ) from None

    def require_right(
        self, client: SubsystemId, service: ServiceId, method: str
    ) -> None:
        granted = {AccessRight(service, client), AccessRight(service, client, method)}
        if not granted & self.rights:
            raise AccessDenied(
                f"{client} has no right to {method} of {service}: ask its provider to "
                "grant it"
            )

    def require_client(self, client: SubsystemId, *, plaintext: bool) -> None:
        known = self.clients.get(client)
        if known is None:
            raise ClientUnknown(
                f"{client} is not a client of this security server: its administrator "
                "adds it with `ristmik client set`"
            )
        if plaintext and not known.plaintext_loopback:
            raise ClientUnknown(
                f"{client} may not call without TLS: allow it with `ristmik client set "
                "--plaintext`, and call from this machine"
            )
