"""What every service does as a process: settings, log, start and stop.

Settings are one TOML file; a key that is not known is refused. The log is JSON lines on
standard error, and standard output stays empty. SIGTERM and SIGINT end it cleanly.
"""

import argparse
import asyncio
import logging
import signal
import sys
import tomllib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import structlog
import uvloop
from pydantic import ValidationError
from pydantic_settings import BaseSettings

Settings = TypeVar("Settings", bound=BaseSettings)

USAGE = 2


def main(
    name: str,
    settings_type: type[Settings],
    *,
    serve: Callable[[Settings], Awaitable[None]],
    migrate: Callable[[Settings, str], None],
) -> int:
    """Run one service until it is told to stop, or migrate its database as its owner.

    Give the exit status. `migrate` is given the owner's DSN.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {name}")
    parser.add_argument("--settings", type=Path, required=True, help="a TOML file")
    commands = parser.add_subparsers(dest="command", metavar="migrate")
    migration = commands.add_parser("migrate", help="bring the database to this form")
    migration.add_argument("--owner-dsn", required=True, help="of the tables' owner")
    arguments = parser.parse_args()
    log_to_stderr(name)
    log = structlog.get_logger()
    try:
        settings = read_settings(settings_type, arguments.settings)
        if arguments.command is not None:
            migrate(settings, arguments.owner_dsn)
            log.info("migrated")
            return 0
    except (OSError, ValueError) as error:
        log.error("settings", path=str(arguments.settings), why=str(error))  # noqa: TRY400 - it is the operator's
        return USAGE
    uvloop.run(_until_stopped(serve(settings)))
    return 0


def read_settings(settings_type: type[Settings], path: Path) -> Settings:
    """Raise ValueError that names each key that is missing, unknown or malformed."""
    try:
        return settings_type(**tomllib.loads(path.read_text()))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, each['loc']))}: {each['msg']}"
            for each in error.errors()
        )
        raise ValueError(problems) from error


def log_to_stderr(service: str) -> None:
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)


async def _until_stopped(serving: Awaitable[None]) -> None:
    """Run until a signal cancels it; an error of its own is the process's."""
    task = asyncio.ensure_future(serving)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        structlog.get_logger().info("stopped")
