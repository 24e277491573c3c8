"""The registry as a program: settings, wiring, serve; or migrate its database."""

import asyncio
import sys
from pathlib import Path
from typing import Final

import structlog

from central_registry.publisher import Publisher
from central_registry.service import serve_publicly, serve_the_operator
from central_registry.settings import Settings
from central_registry.store import Store, migrate
from messaging import daemon, transport
from trust.configuration_anchor import ConfigurationAnchor
from trust.keys import SoftwareKey
from vocabulary.clock import utc_now

NAME: Final = "central_registry"
# What a call may still take when the registry is told to stop. Whoever watches its
# health would use up all of it.
GRACE_S: Final = 1

log = structlog.get_logger()


async def serve(settings: Settings) -> None:
    """Serve until cancelled."""
    settings.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = _signing_key(settings.directory / "configuration.key")
    public = transport.server(f"{settings.instance}/registry")
    port = transport.bind(public, settings.listen)
    host = settings.listen.rpartition(":")[0]
    anchor = ConfigurationAnchor(
        settings.instance,
        settings.address or f"{host}:{port}",
        (key.public_key_info,),
    )
    anchor.save(settings.directory / "anchor.json")
    store = Store(settings.database_dsn)
    publisher = Publisher(
        store=store,
        key=key,
        anchor=anchor,
        path=settings.directory / "configuration",
        intervals=settings.intervals,
        clock=utc_now,
    )
    operators = transport.server(f"{settings.instance}/registry")
    transport.bind_socket(operators, settings.admin_socket)
    public_health = serve_publicly(public, publisher)
    operators_health = serve_the_operator(
        operators,
        instance=settings.instance,
        store=store,
        publisher=publisher,
        clock=utc_now,
    )
    # Well only once there is something to serve, and a database to change it in.
    await public_health.set(serving=False)
    await operators_health.set(serving=False)
    try:
        await public.start()
        await operators.start()
        log.info("serving", address=anchor.address, admin=str(settings.admin_socket))
        async for reachable in publisher.watch():
            await operators_health.set(serving=reachable)
            await public_health.set(serving=publisher.is_current())
    finally:
        await asyncio.gather(operators.stop(GRACE_S), public.stop(GRACE_S))
        store.close()


def _signing_key(path: Path) -> SoftwareKey:
    if not path.exists():
        SoftwareKey.generate().save(path)
        log.info("signing_key_created", path=str(path))
    return SoftwareKey.load(path)


if __name__ == "__main__":
    sys.exit(
        daemon.main(
            NAME,
            Settings,
            serve=serve,
            migrate=lambda settings, owner: migrate(owner, login=settings.login),
        )
    )
