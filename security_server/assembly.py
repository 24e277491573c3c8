"""One security server's two halves, put together from their collaborators."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from messaging.signers import Configured, Signers
from messaging.verification import Verifier
from security_server.access_rights import AccessRights
from security_server.certificate_status import CertificateStatuses, MemberCredential
from security_server.consumer import Consumer
from security_server.message_log import Ledger, MessageLog
from security_server.peer_leg.identity import PeerIdentity
from security_server.peer_leg.tls import TlsIdentity
from security_server.peers import Peers
from security_server.provider import InformationSystem, Provider
from security_server.refusals import Refusals
from security_server.registration.registrations import Registered
from security_server.service import ExchangeServicer
from security_server.signer import (
    BatchSigner,
    FaultSigner,
    RequestSigner,
    ResponseSigner,
)
from trust.certificates import Certificate
from trust.keys import SigningKey
from vocabulary.clock import Clock
from vocabulary.identifiers import SecurityServerId


@dataclass(frozen=True, slots=True)
class ServerKeys:
    """The keys of one security server and the certificates over them.

    `issuers` gives the issuer of each of the two certificates by its thumbprint.
    """

    signing: SigningKey
    signing_certificate: Certificate
    chain: tuple[Certificate, ...]
    authentication_certificate: Certificate
    issuers: Mapping[bytes, Certificate]
    tls: TlsIdentity


@dataclass(frozen=True, slots=True)
class Assembled:
    consumer: Consumer
    exchange: ExchangeServicer
    peers: Peers
    refusals: Refusals
    # This server's own, whose status it has to know.
    certificates: tuple[Certificate, ...]


def assemble(
    server: SecurityServerId,
    *,
    keys: ServerKeys,
    configuration: Configured,
    statuses: CertificateStatuses,
    ledger: Ledger,
    registrations: Registered,
    system: InformationSystem,
    clock: Clock,
) -> Assembled:
    """Wire the walk; call it within the event loop that will run it."""
    certificates = (keys.signing_certificate, keys.authentication_certificate)
    for certificate in certificates:
        statuses.watch(certificate, keys.issuers[certificate.thumbprint])
    signers = Signers(configuration)
    verifier = Verifier(server, configuration, signers, clock)
    rights = AccessRights(registrations, configuration)
    log = MessageLog(ledger, signers)
    credentials = MemberCredential(
        keys.signing, keys.signing_certificate, keys.chain, statuses
    )
    batch = BatchSigner(credentials, signers)
    identity = PeerIdentity(
        server, keys.authentication_certificate, configuration, statuses, clock
    )
    now_s = asyncio.get_running_loop().time
    peers = Peers(configuration, identity, keys.tls, signers, now_s)
    refusals = Refusals(server, configuration, FaultSigner(batch), log, clock)
    consumer = Consumer(rights, RequestSigner(batch, clock), log, peers, verifier)
    answers = ResponseSigner(batch, clock)
    provider = Provider(verifier, rights, log, system, answers, refusals)
    exchange = ExchangeServicer(
        server, identity, credentials, signers, verifier, provider, refusals
    )
    return Assembled(consumer, exchange, peers, refusals, certificates)
