"""Fixtures of the ledger's tests: each test has a database of its own."""

from collections.abc import AsyncIterator
from pathlib import Path
from secrets import token_hex

import pytest

from ledger.sequencer import Sequencer
from tests.databases import Databases
from tests.ledger.tampering import GoodLedger, Ledger
from tests.ledger.world import LedgerWorld


@pytest.fixture
async def world(postgres: Databases, tmp_path: Path) -> AsyncIterator[LedgerWorld]:
    world = LedgerWorld.create(postgres, f"ledger_{token_hex(6)}", tmp_path)
    yield world
    await world.stop()


@pytest.fixture
async def sequencer(world: LedgerWorld) -> Sequencer:
    return await world.started()


@pytest.fixture(scope="session")
def good_ledger(
    postgres: Databases, tmp_path_factory: pytest.TempPathFactory
) -> GoodLedger:
    return GoodLedger(postgres, tmp_path_factory.mktemp("good-ledger"))


@pytest.fixture
def ledger(good_ledger: GoodLedger) -> Ledger:
    return good_ledger.restore()
