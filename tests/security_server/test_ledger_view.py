"""How much there is of a ledger, told from its database."""

from secrets import token_hex

import pytest

from ledger.erasure import Eraser
from security_server.administration.ledger_view import LedgerSize, LedgerView
from tests.ledger.world import ERASER, WRITER, LedgerWorld, request
from vocabulary.faults import LedgerUnavailable


async def test_a_ledger_is_counted(postgres, tmp_path):
    world = LedgerWorld.create(postgres, f"local_view_{token_hex(4)}", tmp_path)
    view = LedgerView(world.dsn(WRITER))
    assert await view.size() == LedgerSize(0, 0)
    sequencer = await world.started()
    for number in range(3):
        await sequencer.append(request(number))
    for _ in range(2):
        await sequencer.close_round()
    assert await view.size() == LedgerSize(3, 2)
    # A body and a subject each.
    assert await view.openings([0, 2]) == 4
    eraser = Eraser(sequencer, world.dsn(ERASER), world.subject_keys)
    await eraser.erase([0], reason="a court said so")
    assert await view.openings([0, 2]) == 2
    await world.stop()


async def test_a_ledger_that_is_away_has_no_size():
    view = LedgerView("postgresql://nobody@/none?host=/nonexistent")
    with pytest.raises(LedgerUnavailable):
        await view.size()
