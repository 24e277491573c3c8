"""A security server as a program: settings, wiring, serve; or migrate its database.

It may start before what it needs: it waits for the database and for its first global
configuration, and says so in its log. What goes away later is refused meanwhile.
"""

import sys
from collections.abc import Awaitable

from ledger.store import migrate as migrate_ledger
from messaging import daemon
from security_server.peer_leg.tls_version import require_tls_1_3
from security_server.registration.store import migrate as migrate_registrations
from security_server.settings import Settings
from vocabulary.dsn import user_of


def serve(settings: Settings) -> Awaitable[None]:
    require_tls_1_3()
    # It imports gRPC, so it comes after.
    from security_server import program  # noqa: PLC0415 - see above

    return program.serve(settings)


def migrate(settings: Settings, owner_dsn: str) -> None:
    writer = user_of(settings.database_dsn)
    migrate_ledger(
        owner_dsn,
        writer=writer,
        reader=settings.reader_role,
        eraser=user_of(settings.eraser_dsn),
    )
    migrate_registrations(owner_dsn, login=writer)


if __name__ == "__main__":
    sys.exit(daemon.main("security_server", Settings, serve=serve, migrate=migrate))
