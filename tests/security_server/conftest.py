"""Two security servers that run in this process, for who names them."""

import pytest

from tests.security_server.agencies import Agencies


@pytest.fixture
async def agencies(tmp_path):
    async with Agencies(tmp_path).running() as running:
        yield running
