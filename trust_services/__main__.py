"""A sandbox's trust services as one program: authority, OCSP responder and TSA."""

import asyncio
import sys
from typing import Final

import structlog
from grpc import aio
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette

from messaging import daemon, http, transport
from trust_services.authority import IssuedCertificate
from trust_services.founding import Services, found
from trust_services.ocsp_responder import OcspResponder
from trust_services.service import SERVICE, CertificationAuthorityService
from trust_services.settings import Settings
from trust_services.store import Store, migrate
from trust_services.time_stamping import TimeStampingAuthority
from trust_services.web import app
from vocabulary.clock import utc_now

log = structlog.get_logger()

NAME: Final = "trust_services"
RETRY_S: Final = 0.5


async def serve(settings: Settings) -> None:
    store = Store(settings.database_dsn)
    try:
        services = await _found(settings, store)
        await _serve(settings, services, store)
    finally:
        store.close()


async def _found(settings: Settings, store: Store) -> Services:
    """Wait for the database, which may start after us, or be migrated after."""
    while True:
        try:
            await asyncio.to_thread(store.ping)
            return await asyncio.to_thread(
                found,
                settings.directory,
                instance=settings.instance,
                ocsp_url=settings.ocsp_url,
                store=store,
                clock=utc_now,
            )
        except SQLAlchemyError as error:
            log.warning("waiting for the database", why=str(error))
            await asyncio.sleep(RETRY_S)


async def _serve(settings: Settings, services: Services, store: Store) -> None:
    web = http.HttpServer(_application(settings, services, store))
    listening = http.listen(settings.http_listen)
    admin = _administration(settings, services, store)
    await admin.start()
    log.info("serving", http=settings.http_listen, admin=str(settings.admin_socket))
    try:
        await web.serve_on(listening)
    finally:
        await admin.stop(http.GRACE_S)


def _application(settings: Settings, services: Services, store: Store) -> Starlette:
    authority, responder = services.authority.certificate, services.responder

    async def find(serial: int) -> IssuedCertificate | None:
        return await asyncio.to_thread(store.find, serial)

    return app(
        authority=authority,
        responder=OcspResponder(
            responder.key,
            responder.certificate,
            issuer=authority,
            find=find,
            validity=settings.ocsp_validity,
            clock=utc_now,
        ),
        time_stamping=TimeStampingAuthority(
            services.time_stamping.key,
            services.time_stamping.certificate,
            clock=utc_now,
        ),
        store=store,
    )


def _administration(settings: Settings, services: Services, store: Store) -> aio.Server:
    server = transport.server(f"{settings.instance}/trust-services")
    service = CertificationAuthorityService(services.authority, store, utc_now)
    service.add_to(server)
    transport.add_health(server)
    transport.add_reflection(server, [SERVICE])
    transport.bind_socket(server, settings.admin_socket)
    return server


if __name__ == "__main__":
    sys.exit(
        daemon.main(
            NAME,
            Settings,
            serve=serve,
            migrate=lambda settings, owner: migrate(owner, login=settings.login),
        )
    )
