"""Two security servers in one process: real gRPC and mTLS, a ledger in memory.

The ledger's fake passes the contract tests of the real one (tests/ledger).
"""

import secrets
from collections.abc import Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from types import MappingProxyType

import httpx2
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc import aio

from examples.agencies.population.v1 import population_pb2
from ledger.record import Appended, LedgerRecord
from messaging.envelope import Response
from messaging.transport import OPTIONS
from protos.v1 import exchange_pb2_grpc
from security_server.access_rights import Demands
from security_server.assembly import ServerKeys, assemble
from security_server.certificate_status import CertificateStatuses
from security_server.peer_leg.tls import TlsIdentity
from security_server.registration.registrations import AccessRight, Registrations
from security_server.registration.services import registered_service
from tests.pki import GOOD, Pki
from tests.world import (
    MARI,
    PERSONS,
    POPULATION,
    POPULATION_SERVER,
    TAX,
    TAX_SERVER,
    Party,
    Registry,
    new_message_id,
    request,
)
from vocabulary.clock import utc_now
from vocabulary.faults import LedgerUnavailable, Replayed
from vocabulary.imprint import Imprint


class LedgerInMemory:
    """Keeps records in a list, refuses replays, and can be told to fail."""

    def __init__(self) -> None:
        self.records: list[LedgerRecord] = []
        self.evidence: dict[Imprint, bytes] = {}
        self.down = False
        self._received: set[bytes] = set()

    async def append(self, record: LedgerRecord) -> Appended:
        if self.down:
            raise LedgerUnavailable("the ledger's database is stopped; start it")
        if record.once is not None:
            if record.once.key in self._received:
                raise Replayed("received before")
            self._received.add(record.once.key)
        self.records.append(record)
        return Appended(len(self.records), 1, secrets.token_bytes(32))

    def has_evidence(self, imprint: Imprint) -> bool:
        return imprint in self.evidence

    async def put_evidence(self, ders: Iterable[bytes]) -> None:
        if self.down:
            raise LedgerUnavailable("the ledger's database is stopped; start it")
        self.evidence |= {Imprint.of(der): der for der in ders}

    @property
    def kinds(self) -> list[str]:
        return [record.kind.name for record in self.records]


class Responder(httpx2.AsyncBaseTransport):
    """An OCSP responder that nobody listens to: statuses are put in by hand."""

    async def handle_async_request(self, request):
        return httpx2.Response(503, request=request)


class Register:
    """The provider's own system."""

    def __init__(self) -> None:
        self.calls = 0
        self.answer = Response(0, ANSWER, subjects=(MARI,))

    async def call(self, received, timeout_s):
        self.calls += 1
        return self.answer


class Side:
    """One agency's security server, with what a test wants to look at or break."""

    def __init__(self, pki: Pki, subsystem, server) -> None:
        self.pki = pki
        self.subsystem = subsystem
        self.server = server
        self.party = Party(pki, subsystem.member, server)
        self.ledger = LedgerInMemory()
        self.register = Register()
        self.registrations = Registrations.of()
        self.statuses: CertificateStatuses | None = None

    def service(self, service):
        return self.registrations.service(service)

    def require_right(self, client, service, method):
        self.registrations.require_right(client, service, method)

    def require_client(self, client, *, plaintext):
        self.registrations.require_client(client, plaintext=plaintext)

    def keys(self) -> ServerKeys:
        party = self.party
        signing, authentication = party.signing, party.authentication
        key = party.authentication_key.private_key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        return ServerKeys(
            party.key,
            signing.certificate,
            (),
            authentication.certificate,
            {
                signing.certificate.thumbprint: signing.issuer,
                authentication.certificate.thumbprint: authentication.issuer,
            },
            TlsIdentity(
                key, authentication.certificate.x509.public_bytes(Encoding.PEM)
            ),
        )

    def learn(self, certificate, status=GOOD):
        self.statuses.learn(certificate, self.pki.ocsp(certificate, status=status))

    async def start(self, registry, directory, client, port=0) -> int:
        self.statuses = CertificateStatuses(registry, directory, client, utc_now)
        self.assembled = assemble(
            self.server,
            keys=self.keys(),
            configuration=registry,
            statuses=self.statuses,
            ledger=self.ledger,
            registrations=self,
            system=self.register,
            clock=utc_now,
        )
        self.learn(self.party.signing.certificate)
        self.learn(self.party.authentication.certificate)
        self.grpc = aio.server(options=list(OPTIONS))
        exchange_pb2_grpc.add_ExchangeServiceServicer_to_server(
            self.assembled.exchange, self.grpc
        )
        credentials = self.keys().tls.server_credentials(registry, first=registry.held)
        port = self.grpc.add_secure_port(f"127.0.0.1:{port}", credentials)
        await self.grpc.start()
        return port

    async def stop(self):
        await self.assembled.peers.close()
        await self.grpc.stop(None)

    async def exchange(self, request, timeout_s=10.0):
        demands = Demands.PURPOSE_AND_SUBJECTS
        return await self.assembled.consumer.exchange(
            request, timeout_s, demands=demands
        )


class Agencies:
    """A tax board that asks and a population register that answers."""

    def __init__(self, directory) -> None:
        self.directory = directory
        self.pki = Pki(utc_now)
        self.tax = Side(self.pki, TAX, TAX_SERVER)
        self.population = Side(self.pki, POPULATION, POPULATION_SERVER)
        self.registry = Registry(
            self.pki,
            (self.tax.party, "127.0.0.1:1", TAX),
            (self.population.party, "127.0.0.1:1", POPULATION),
        )

    def grant(self, *rights):
        self.population.registrations = replace(
            self.population.registrations, rights=frozenset(rights)
        )

    @asynccontextmanager
    async def running(self):
        self.population.registrations = Registrations.of(
            services=[persons_service()], rights=[AccessRight(PERSONS, TAX)]
        )
        transport = httpx2.AsyncClient(transport=Responder())
        async with transport as client:
            ports = {}
            for side in (self.tax, self.population):
                where = self.directory / side.subsystem.code
                ports[side.server] = await side.start(self.registry, where, client)
            self.registry.change(
                servers=MappingProxyType(
                    {
                        server: replace(
                            registered, address=f"127.0.0.1:{ports[server]}"
                        )
                        for server, registered in self.registry.held.servers.items()
                    }
                )
            )
            try:
                yield self
            finally:
                await self.tax.stop()
                await self.population.stop()


ASK = population_pb2.GetPersonRequest(person_id=MARI).SerializeToString()
ANSWER = population_pb2.Person(id=MARI).SerializeToString()


def asking(**changed):
    """A request of its own message id, for Mari."""
    return request(**{"message_id": new_message_id(), "body": ASK, **changed})


def persons_service():
    files = FileDescriptorSet()
    population_pb2.DESCRIPTOR.CopyToProto(files.file.add())
    return registered_service(
        PERSONS,
        "127.0.0.1:1",
        files.SerializeToString(),
        personal=True,
        request_subjects=["GetPersonRequest.person_id"],
        response_subjects=["Person.id"],
    )
