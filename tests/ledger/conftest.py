"""Fixtures of the ledger's tests: each test has a database of its own."""

from collections.abc import AsyncIterator
from pathlib import Path
from secrets import token_hex

import pytest

from ledger.sequencer import Sequencer
from tests.databases import Databases
from tests.ledger.world import LedgerWorld


@pytest.fixture
async def world(postgres: Databases, tmp_path: Path) -> AsyncIterator[LedgerWorld]:
    world = LedgerWorld.create(postgres, f"ledger_{token_hex(6)}", tmp_path)
    yield world
    await world.stop()


@pytest.fixture
async def sequencer(world: LedgerWorld) -> Sequencer:
    return await world.started()
