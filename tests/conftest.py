"""Fixtures that every package's tests share."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.postgres import VARIABLE, postgres_for
from tests.databases import Databases


@pytest.fixture(scope="session")
def postgres() -> Iterator[Databases]:
    # Not tmp_path, which under root is closed to the account PostgreSQL runs as.
    directory = Path(tempfile.mkdtemp(prefix="ristmik-tests-"))
    server = postgres_for(directory, os.environ.get(VARIABLE))
    try:
        server.start()
        databases = Databases(server)
        yield databases
        databases.drop_created()
    finally:
        server.stop()
        shutil.rmtree(directory)
