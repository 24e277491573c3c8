"""One running security server: its parts, in the order in which they start and stop."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

import httpx2
import structlog
from grpc import aio

from ledger.checkpoint import LogKey
from ledger.erasure import Eraser
from ledger.sequencer import Sequencer
from ledger.subject_keys import SubjectKeys
from messaging import transport
from messaging.heads import HeadReader
from messaging.http import HttpServer, listen
from protos.v1.administration_pb2 import DESCRIPTOR as ADMINISTRATION_FILE
from protos.v1.administration_pb2_grpc import (
    add_AdministrationServiceServicer_to_server,
)
from protos.v1.exchange_pb2_grpc import add_ExchangeServiceServicer_to_server
from security_server.administration.finding import (
    Probe,
    certificate_probe,
    configuration_probe,
    ledger_probe,
    system_probe,
    time_stamp_probe,
)
from security_server.administration.ledger_view import LedgerView
from security_server.administration.service import AdministrationServicer
from security_server.assembly import Assembled, assemble
from security_server.certificate_status import CertificateStatuses
from security_server.configuration_client import ConfigurationClient
from security_server.information_system import InformationSystem
from security_server.key_files import load_keys
from security_server.local_leg.description import Descriptions
from security_server.local_leg.routing import LocalHandler
from security_server.local_leg.service import LocalService
from security_server.reflection import reflect
from security_server.registration.store import RegistrationStore
from security_server.rounds import Rounds
from security_server.settings import Settings
from security_server.web import app
from trust.configuration_anchor import ConfigurationAnchor
from vocabulary.clock import utc_now
from vocabulary.faults import LedgerUnavailable

RETRY_S: Final = 0.5
# For OCSP responders and TSAs, which may hang.
HTTP_TIMEOUT_S: Final = 5.0
# What is under way when the server is told to stop gets this long.
GRACE_S: Final = 5.0
ADMINISTRATION: Final = ADMINISTRATION_FILE.services_by_name[
    "AdministrationService"
].full_name

log = structlog.get_logger()


async def serve(settings: Settings) -> None:
    """Serve until cancelled; LedgerBroken if the ledger is not what was recorded."""
    settings.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    # If any part ends by itself, so does the program, and says why.
    async with asyncio.TaskGroup() as parts, AsyncExitStack() as stack:
        client = httpx2.AsyncClient(timeout=HTTP_TIMEOUT_S)
        await stack.enter_async_context(client)
        await _Program(settings, client, parts, stack).start()
        log.info("serving", server=str(settings.id))
        await asyncio.Event().wait()


class _Program:
    """Each part that is started puts its own end on the stack: last in, first out."""

    def __init__(
        self,
        settings: Settings,
        client: httpx2.AsyncClient,
        parts: asyncio.TaskGroup,
        stack: AsyncExitStack,
    ) -> None:
        self._settings = settings
        self._client = client
        self._parts = parts
        self._stack = stack
        self._now_s = asyncio.get_running_loop().time
        self._configuration = ConfigurationClient(
            ConfigurationAnchor.load(settings.anchor),
            settings.directory / "configuration",
            utc_now,
        )
        self._statuses = CertificateStatuses(
            self._configuration, settings.directory / "ocsp", client, utc_now
        )
        subject_keys = SubjectKeys(settings.directory / "subject-index")
        self._ledger = Sequencer(
            settings.database_dsn,
            log_key=LogKey.load(settings.checkpoint_key),
            heads=HeadReader(),
            subject_keys=subject_keys,
            clock=utc_now,
        )
        self._eraser = Eraser(self._ledger, settings.eraser_dsn, subject_keys)
        self._registrations = RegistrationStore(settings.database_dsn, utc_now)
        self._rounds = Rounds(self._ledger, self._configuration, client, utc_now)

    async def start(self) -> None:
        """Start in the order of need; whoever calls from outside comes last."""
        self._run(self._configuration.run())
        await self._start_database()
        assembled = await self._start_walk()
        self._run(self._rounds.run())
        await self._serve_web()
        await self._serve_local(assembled)
        await self._serve_administration(assembled)

    async def _start_database(self) -> None:
        await _once_reachable(self._ledger.start)
        self._stack.push_async_callback(self._ledger.stop)
        await _once_reachable(self._eraser.complete)
        await _once_reachable(self._registrations.load)
        self._run(self._registrations.run())

    async def _start_walk(self) -> Assembled:
        """Open the peer leg, once there is a configuration to say who the peers are."""
        configured = await self._configuration.newer_than(0)
        keys = load_keys(self._settings, configured)
        system = InformationSystem(self._now_s)
        self._stack.push_async_callback(system.close)
        assembled = assemble(
            self._settings.id,
            keys=keys,
            configuration=self._configuration,
            statuses=self._statuses,
            ledger=self._ledger,
            registrations=self._registrations,
            system=system,
            clock=utc_now,
        )
        self._stack.push_async_callback(assembled.peers.close)
        self._run(self._statuses.run())
        self._run(assembled.refusals.run())
        server = aio.server(options=list(transport.OPTIONS))
        add_ExchangeServiceServicer_to_server(assembled.exchange, server)
        credentials = keys.tls.server_credentials(self._configuration, first=configured)
        transport.bind(server, self._settings.peer_listen, credentials)
        await self._serve(server)
        # Before its gRPC server stops, which would cut off who is being answered.
        self._stack.push_async_callback(assembled.exchange.stop, GRACE_S)
        return assembled

    async def _serve_web(self) -> None:
        http = HttpServer(app(self._ledger))
        self._run(http.serve_on(listen(self._settings.http_listen)))

    async def _serve_local(self, assembled: Assembled) -> None:
        local = LocalService(
            self._settings.id,
            self._registrations,
            self._configuration,
            Descriptions(assembled.consumer, self._now_s),
            assembled.consumer,
            assembled.refusals,
        )
        self._stack.push_async_callback(local.recorded)
        server = aio.server(options=list(transport.OPTIONS))
        server.add_generic_rpc_handlers((LocalHandler(local),))
        transport.bind(server, self._settings.local_listen)
        await self._serve(server)

    async def _serve_administration(self, assembled: Assembled) -> None:
        server = transport.server(self._settings.id)
        servicer = AdministrationServicer(
            self._settings.id,
            self._registrations,
            self._configuration,
            LedgerView(self._settings.database_dsn),
            self._eraser,
            reflect=reflect,
            probes=self._probes(assembled),
        )
        add_AdministrationServiceServicer_to_server(servicer, server)
        transport.add_health(server)
        transport.add_reflection(server, [ADMINISTRATION])
        transport.bind_socket(server, self._settings.admin_socket)
        await self._serve(server)

    def _probes(self, assembled: Assembled) -> Sequence[Probe]:
        return (
            configuration_probe(self._configuration),
            ledger_probe(self._ledger),
            time_stamp_probe(self._rounds),
            certificate_probe(self._statuses, assembled.certificates),
            system_probe(self._registrations.current),
        )

    async def _serve(self, server: aio.Server) -> None:
        await server.start()
        self._stack.push_async_callback(server.stop, GRACE_S)

    def _run(self, part: Coroutine[Any, Any, None]) -> None:
        """Run a part until its turn to end."""
        task = self._parts.create_task(part)

        async def stop() -> None:
            task.cancel()
            await asyncio.wait({task})

        self._stack.push_async_callback(stop)


async def _once_reachable(start: Callable[[], Awaitable[None]]) -> None:
    """Start what needs the database, which may itself start after us."""
    while True:
        try:
            await start()
        except LedgerUnavailable as fault:
            log.warning("waiting for the database", why=fault.detail)
            await asyncio.sleep(RETRY_S)
        else:
            return
