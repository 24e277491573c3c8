"""Fixtures that every package's tests share."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from cli.postgres.private import VARIABLE, PrivatePostgres, postgres_for
from cli.sandbox.failures import DirectoryUnusable
from tests.databases import Databases

PREFIX = "ristmik-tests-"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Databases]:
    sweep()
    # Not tmp_path, which under root is closed to the account PostgreSQL runs as.
    directory = Path(tempfile.mkdtemp(prefix=PREFIX))
    server = postgres_for(directory, os.environ.get(VARIABLE))
    try:
        server.start()
        databases = Databases(server)
        yield databases
        databases.drop_created()
    finally:
        server.stop()
        shutil.rmtree(directory)


def sweep() -> None:
    """Stop and remove the servers of sessions that were killed."""
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        # A living session holds the lock, and takes it before there are data.
        with suppress(DirectoryUnusable, OSError):
            if (left / "data").exists():
                PrivatePostgres(left).stop_left_running()
                shutil.rmtree(left)
