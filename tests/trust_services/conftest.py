"""One running instance for all tests of this folder."""

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.trust_services.running import RunningTrustServices
from trust_services.store import migrate

OWNER, LOGIN = "trust_services_owner", "trust_services"


@pytest.fixture(scope="session")
def trust_services_dsns(postgres):
    """DSNs of the owner and of the login role; migrated twice, as upgrades do."""
    postgres.create_role(OWNER)
    postgres.create_database("trust_services", owner=OWNER)
    owner = postgres.role_dsn(OWNER, database="trust_services")
    login = postgres.role_dsn(LOGIN, database="trust_services")
    migrate(owner, login=LOGIN)
    migrate(owner, login=LOGIN)
    return owner, login


@contextmanager
def made_directory():
    # Not tmp_path: a socket's path has to be short.
    directory = Path(tempfile.mkdtemp(prefix="ristmik-trust-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@pytest.fixture
def short_directory():
    with made_directory() as directory:
        yield directory


@pytest.fixture(scope="session")
def running(trust_services_dsns):
    with made_directory() as directory:
        services = RunningTrustServices(directory, trust_services_dsns[1])
        try:
            services.start()
            yield services
        finally:
            services.stop()
