"""A security server as a program: settings, wiring, serve; or migrate its database.

It may start before what it needs: it waits for the database and for its first global
configuration, and says so in its log. What goes away later is refused meanwhile.
"""

import argparse
import sys
from pathlib import Path
from typing import Final

import structlog

from ledger.store import migrate as migrate_ledger
from messaging import daemon
from security_server.peer_leg.tls_version import require_tls_1_3
from security_server.registration.store import migrate as migrate_registrations
from security_server.settings import Settings

NAME: Final = "security_server"

log = structlog.get_logger()


def main() -> int:
    parser = argparse.ArgumentParser(prog=f"python -m {NAME}")
    parser.add_argument("--settings", type=Path, required=True, help="a TOML file")
    commands = parser.add_subparsers(dest="command", metavar="migrate")
    migration = commands.add_parser("migrate", help="bring the database to this form")
    migration.add_argument("--owner-dsn", required=True, help="of the tables' owner")
    for role in ("writer", "reader", "eraser"):
        migration.add_argument(f"--{role}", required=True, help="a role that exists")
    arguments = parser.parse_args()
    if arguments.command is None:
        require_tls_1_3()
        # It imports gRPC, so it comes after.
        from security_server.program import serve  # noqa: PLC0415 - see above

        return daemon.main(NAME, Settings, serve)
    daemon.log_to_stderr(NAME)
    migrate_ledger(
        arguments.owner_dsn,
        writer=arguments.writer,
        reader=arguments.reader,
        eraser=arguments.eraser,
    )
    migrate_registrations(arguments.owner_dsn, login=arguments.writer)
    log.info("migrated")
    return 0


if __name__ == "__main__":
    sys.exit(main())
