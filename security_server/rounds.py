"""Each second: close the ledger's round, and have its checkpoint time-stamped when due.

A time-stamp never delays a round: it is fetched beside them, for the newest checkpoint.
"""

import asyncio
from datetime import datetime
from typing import Protocol

import httpx2
import structlog

from ledger.checkpoint import RoundCheckpoint
from messaging.signers import Configured
from trust.timestamps import fetch, verify_token
from vocabulary.clock import Clock
from vocabulary.faults import Fault, TimeStampingFailed
from vocabulary.imprint import Imprint

log = structlog.get_logger()

ROUND_S = 1.0


class RoundLedger(Protocol):
    async def close_round(self) -> RoundCheckpoint: ...

    async def add_time_stamp(self, round_: int, token: bytes) -> None: ...


class Rounds:
    def __init__(
        self,
        ledger: RoundLedger,
        configuration: Configured,
        client: httpx2.AsyncClient,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._configuration = configuration
        self._client = client
        self._clock = clock
        self._stamping: asyncio.Task[None] | None = None
        self._stamped_at: datetime | None = None
        self.last_failure: str | None = None

    async def run(self) -> None:
        while True:
            await asyncio.sleep(ROUND_S - self._clock().timestamp() % ROUND_S)
            try:
                checkpoint = await self._ledger.close_round()
            except Fault as fault:
                log.warning("round not closed", fault=fault.code, detail=fault.detail)
                continue
            if self._is_due():
                self._stamping = asyncio.create_task(self._stamp(checkpoint))

    def _is_due(self) -> bool:
        if self._stamping is not None and not self._stamping.done():
            return False
        if self._stamped_at is None:
            return True
        try:
            interval = self._configuration.current().time_stamping_interval
        except Fault:
            return False
        # A round closes a little before or after its second; that is not a miss.
        elapsed = self._clock() - self._stamped_at
        return elapsed.total_seconds() >= interval.total_seconds() - ROUND_S / 2

    async def _stamp(self, checkpoint: RoundCheckpoint) -> None:
        began = self._clock()
        try:
            token = await self._token(checkpoint.imprint)
            await self._ledger.add_time_stamp(checkpoint.round, token)
        except Fault as fault:
            self.last_failure = fault.detail
            log.warning("checkpoint not time-stamped", detail=fault.detail)
        else:
            self._stamped_at, self.last_failure = began, None

    async def _token(self, imprint: Imprint) -> bytes:
        """Ask the approved TSAs in their order; give the first token that verifies."""
        approved = self._configuration.current().time_stamping_authorities
        failures = ["no time-stamping authority is approved"] if not approved else []
        for authority in approved:
            try:
                token = await fetch(self._client, authority.url, imprint)
                verify_token(
                    token, imprint=imprint, authorities=[authority.certificate]
                )
            except Fault as fault:
                failures.append(f"{authority.name}: {fault.detail}")
            else:
                return token
        raise TimeStampingFailed("; ".join(failures))
