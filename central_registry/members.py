"""The rules of registration: asked for, then approved or rejected by the operator.

A request is judged when it is asked and again when it is approved, by the same
function, since what it depends on may have changed between. An owner comes before its
server, and a member and a server before the subsystem that they have and carry.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from central_registry.records import AuthorityKind, CodeList, Records
from central_registry.requests import Asked, Kind, RegistrationRequest, State
from ledger.checkpoint import VerifierKey
from trust.certificates import (
    Certificate,
    parse_certificate,
    verify_authentication_certificate,
)
from trust.global_configuration import Authority, Server
from trust.registration import (
    parse_address,
    parse_checkpoint_key,
    parse_code,
    parse_name,
    parse_url,
)
from vocabulary.faults import (
    AlreadyRegistered,
    CertificateInvalid,
    RegistrationInvalid,
    RequestUnknown,
)
from vocabulary.identifiers import MemberId, SecurityServerId, SubsystemId

Extension = TypeVar("Extension", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True)
class Members:
    """What may be asked of the registry of one instance, in one transaction."""

    instance: str
    records: Records
    now: datetime

    # Asked for.

    def register_member(self, id_: MemberId, *, name: str) -> RegistrationRequest:
        return self._ask(Asked(kind=Kind.MEMBER, subject=str(id_), name=name))

    def register_subsystem(
        self, id_: SubsystemId, *, server: SecurityServerId
    ) -> RegistrationRequest:
        return self._ask(
            Asked(kind=Kind.SUBSYSTEM, subject=str(id_), server=str(server))
        )

    def register_server(
        self,
        id_: SecurityServerId,
        *,
        address: str,
        certificate: bytes,
        checkpoint_key: str,
    ) -> RegistrationRequest:
        """Ask for a server, or for what is new about one that is registered."""
        return self._ask(
            Asked(
                kind=Kind.SERVER,
                subject=str(id_),
                address=address,
                certificate=certificate,
                checkpoint_key=checkpoint_key,
            )
        )

    # Decided.

    def approve(self, number: int) -> RegistrationRequest:
        """Register what was asked for; RequestUnknown if it does not wait."""
        request = self._waiting(number)
        match request.asked.kind:
            case Kind.MEMBER:
                id_ = self._require_member(request.asked)
                name = request.asked.name
                self.records.add_member(id_, name=name, now=self.now)
            case Kind.SUBSYSTEM:
                self._add_subsystem(request.asked)
            case Kind.SERVER:
                self._add_server(request.asked)
        return self.records.decide(number, State.APPROVED, reason="", now=self.now)

    def reject(self, number: int, *, reason: str) -> RegistrationRequest:
        self._waiting(number)
        with invalid():
            parse_name(reason)
        return self.records.decide(number, State.REJECTED, reason=reason, now=self.now)

    def approve_authority(
        self, kind: AuthorityKind, *, name: str, certificate: bytes, url: str
    ) -> None:
        """Approve a CA or TSA, or give one that is approved another name or address."""
        with invalid():
            parsed = parse_certificate(certificate)
            authority = Authority(parse_name(name), parsed, parse_url(url))
            _require_use(parsed, kind)
        self.records.approve_authority(kind, authority, now=self.now)

    def list_code(self, code: str, *, in_: CodeList, name: str) -> None:
        """List a purpose or legal basis, or give one that is listed another name."""
        with invalid():
            code, name = parse_code(code), parse_name(name)
        self.records.list_code(code, in_=in_, name=name, now=self.now)

    # The rules.

    def _ask(self, asked: Asked) -> RegistrationRequest:
        self._require(asked)
        if number := self.records.waiting(asked):
            raise AlreadyRegistered(
                f"{asked.subject} was asked for before: request {number} waits for a "
                "decision; approve or reject that one first"
            )
        return self.records.ask(asked, now=self.now)

    def _waiting(self, number: int) -> RegistrationRequest:
        request = self.records.request(number)
        if request is None:
            raise RequestUnknown(
                f"there is no request {number}; list those that wait for a decision"
            )
        if request.state is not State.WAITING:
            raise RequestUnknown(
                f"request {number} was decided: {request.state.lower()} at "
                f"{request.decided_at:%Y-%m-%d %H:%M:%S} UTC"
            )
        return request

    def _require(self, asked: Asked) -> None:
        match asked.kind:
            case Kind.MEMBER:
                self._require_member(asked)
            case Kind.SUBSYSTEM:
                self._require_subsystem(asked)
            case Kind.SERVER:
                self._require_server(asked)

    def _require_member(self, asked: Asked) -> MemberId:
        id_ = MemberId.parse(asked.subject)
        if id_.instance != self.instance:
            raise RegistrationInvalid(
                f"{id_} is of another instance; members here are {self.instance}/…"
            )
        with invalid():
            parse_name(asked.name)
        if self.records.has_member(id_):
            raise AlreadyRegistered(f"{id_} is a member already")
        return id_

    def _require_subsystem(self, asked: Asked) -> tuple[SubsystemId, Server]:
        id_ = SubsystemId.parse(asked.subject)
        if not self.records.has_member(id_.member):
            raise RegistrationInvalid(
                f"{id_.member} is no member yet; register it and approve that first"
            )
        server = self.records.server(SecurityServerId.parse(asked.server))
        if server is None:
            raise RegistrationInvalid(
                f"there is no security server {asked.server} yet; register it and "
                "approve that first"
            )
        if id_ in server.subsystems:
            raise AlreadyRegistered(f"{server.id} carries {id_} already")
        return id_, server

    def _add_subsystem(self, asked: Asked) -> None:
        id_, server = self._require_subsystem(asked)
        if not self.records.has_subsystem(id_):
            self.records.add_subsystem(id_, now=self.now)
        self.records.carry(id_, on=server.id, now=self.now)

    def _require_server(self, asked: Asked) -> "News":
        id_ = SecurityServerId.parse(asked.subject)
        if not self.records.has_member(id_.owner):
            raise RegistrationInvalid(
                f"{id_.owner} is no member yet; register the server's owner and "
                "approve that first"
            )
        registered = self.records.server(id_)
        offered = (asked.address, asked.certificate, asked.checkpoint_key)
        if registered is None and not all(offered):
            raise RegistrationInvalid(
                f"a new security server has an address, an authentication certificate "
                f"and a checkpoint key; name all three for {id_}"
            )
        if not any(offered):
            raise RegistrationInvalid(
                f"nothing is asked for {id_}; name an address, a certificate or a key"
            )
        news = News(
            address=self._new_address(asked, registered),
            certificate=self._new_certificate(id_, asked, registered),
            checkpoint_key=self._new_checkpoint_key(id_, asked, registered),
        )
        if not (news.address or news.certificate or news.checkpoint_key):
            raise AlreadyRegistered(f"{id_} is registered with exactly this already")
        return news

    def _new_address(self, asked: Asked, registered: Server | None) -> str:
        if not asked.address or (registered and registered.address == asked.address):
            return ""
        with invalid():
            return parse_address(asked.address)

    def _new_certificate(
        self, id_: SecurityServerId, asked: Asked, registered: Server | None
    ) -> Certificate | None:
        if not asked.certificate:
            return None
        with invalid():
            certificate = parse_certificate(asked.certificate)
        if registered and certificate in registered.authentication_certificates:
            return None
        holder = self.records.holder_of_certificate(certificate.thumbprint)
        if holder is not None:
            raise RegistrationInvalid(
                f"this authentication certificate is or was that of {holder}; have a "
                f"new one issued to {id_}"
            )
        approved = self.records.authorities(AuthorityKind.CERTIFICATION)
        with invalid():
            verified = verify_authentication_certificate(
                certificate,
                chain=(),
                authorities=[authority.certificate for authority in approved],
                at=self.now,
            )
        if verified.server != id_:
            raise RegistrationInvalid(
                f"this authentication certificate was issued to {verified.server}; "
                f"have one issued to {id_}"
            )
        return certificate

    def _new_checkpoint_key(
        self, id_: SecurityServerId, asked: Asked, registered: Server | None
    ) -> str:
        key = asked.checkpoint_key
        if not key or (registered and key in registered.checkpoint_keys):
            return ""
        with invalid():
            VerifierKey.parse(key)
            return parse_checkpoint_key(key, server=id_)

    def _add_server(self, asked: Asked) -> None:
        id_, news = SecurityServerId.parse(asked.subject), self._require_server(asked)
        if self.records.server(id_) is None:
            self.records.add_server(id_, address=news.address, now=self.now)
        elif news.address:
            self.records.move_server(id_, address=news.address)
        if news.certificate:
            self.records.add_certificate(id_, news.certificate, now=self.now)
        if news.checkpoint_key:
            self.records.add_checkpoint_key(id_, news.checkpoint_key, now=self.now)


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What a request would change about a server; empty where nothing."""

    address: str
    certificate: Certificate | None
    checkpoint_key: str


def _extension(certificate: Certificate, kind: type[Extension]) -> Extension:
    return certificate.x509.extensions.get_extension_for_class(kind).value


def _require_use(certificate: Certificate, kind: AuthorityKind) -> None:
    serves = False
    with suppress(x509.ExtensionNotFound):
        match kind:
            case AuthorityKind.CERTIFICATION:
                serves = _extension(certificate, x509.BasicConstraints).ca
            case AuthorityKind.TIME_STAMPING:
                usages = _extension(certificate, x509.ExtendedKeyUsage)
                serves = ExtendedKeyUsageOID.TIME_STAMPING in usages
    if not serves:
        raise ValueError(
            f"the certificate of {certificate.subject} is not for {kind.lower()}"
        )


@contextmanager
def invalid() -> Iterator[None]:
    """Give what a parser says to who asked for the registration."""
    try:
        yield
    except (ValueError, CertificateInvalid) as error:
        raise RegistrationInvalid(f"{error}; correct it and ask again") from error
