"""What this server says no to, signed by its owner and recorded before it is said.

Repeats fold: of refusals that are alike, the first of a second is recorded, and once
that second is over one more record says how many followed. So nobody who is let in can
fill a permanent ledger with refusals.

One thing leaves unrecorded: that the ledger is down, which it cannot hold. It carries
no answer, and the caller has to know what became of the call.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from weakref import WeakSet

from ledger.record import Kind
from messaging.envelope import Request
from messaging.parts import Refusal
from messaging.signers import Configured
from messaging.signing import SignedPart
from messaging.verification import VerifiedRequest
from security_server.message_log import MessageLog
from security_server.signer import FaultSigner
from vocabulary.clock import Clock
from vocabulary.faults import (
    Cancelled,
    Execution,
    Fault,
    LedgerUnavailable,
    Replayed,
    SubjectMismatch,
)
from vocabulary.identifiers import SecurityServerId
from vocabulary.imprint import Imprint

FOLD_S = 1.0


@dataclass(frozen=True, slots=True)
class Said:
    """A signed fault on its way to a peer; no row hash if it was not recorded."""

    message: SignedPart
    row_hash: bytes


@dataclass(slots=True)
class _Fold:
    """Refusals that are alike, since the first of them was recorded."""

    first: Refusal
    kind: Kind
    repeats: int = 0


class Refusals:
    def __init__(
        self,
        server: SecurityServerId,
        configuration: Configured,
        signer: FaultSigner,
        log: MessageLog,
        clock: Clock,
    ) -> None:
        self._server = server
        self._configuration = configuration
        self._signer = signer
        self._log = log
        self._clock = clock
        self._folds: dict[tuple[object, ...], _Fold] = {}
        # Faults whose like was recorded within the second.
        self._repeated: WeakSet[Fault] = WeakSet()

    @asynccontextmanager
    async def of(self, verified: VerifiedRequest) -> AsyncIterator[None]:
        """Record that a request which is believed was refused before execution.

        A replay may have been executed when it came first, so of it that is not said.
        """
        try:
            yield
        except Fault as fault:
            if not isinstance(fault, Replayed):
                fault.execution = Execution.NOT_EXECUTED
            refusal = self._refusal(fault, verified.request)
            if self._is_repeat(refusal, Kind.RESPONSE_FAILED):
                self._repeated.add(fault)
            else:
                # A ledger that is down refuses everything, and cannot hold that.
                with suppress(LedgerUnavailable):
                    await self._log.record_refused(verified, refusal)
            raise

    async def answer(
        self, fault: Fault, *, part: Imprint, verified: VerifiedRequest | None
    ) -> Said:
        """Refuse a peer's part; the client is named only where it is believed."""
        fault.origin, fault.refused = self._server, part
        refusal = self._refusal(fault, verified.request if verified else None)
        kind = Kind.RESPONSE_FAILED if verified else Kind.REQUEST_REFUSED
        signed = await self._signer.sign(refusal, kind)
        if fault in self._repeated:
            return Said(signed.message, row_hash=b"")
        try:
            logged = await self._log.record(signed)
        except LedgerUnavailable:
            return Said(signed.message, row_hash=b"")
        return Said(signed.message, logged.row_hash)

    async def record(self, request: Request | None, fault: Fault) -> None:
        """Record that a client of ours got a fault of ours instead of an answer.

        Before anything was sent its request is refused; after that the response failed.
        There is no request where it cannot be said what was asked of whom. Raise
        LedgerUnavailable: then that is what the client is told.
        """
        fault.origin = self._server
        kind, refusal = _kind_of(fault), self._refusal(fault, request)
        if kind is not Kind.REQUEST_REFUSED or not self._is_repeat(refusal, kind):
            await self._record(refusal, kind)

    async def run(self) -> None:
        """Record each second how many repeats there were, until cancelled."""
        try:
            while True:
                await asyncio.sleep(FOLD_S)
                await self.record_repeats()
        finally:
            await self.record_repeats()

    async def record_repeats(self) -> None:
        folds, self._folds = self._folds, {}
        for fold in folds.values():
            if fold.repeats:
                counted = replace(
                    fold.first, issued_at=self._clock(), repeats=fold.repeats
                )
                with suppress(LedgerUnavailable):
                    await self._record(counted, fold.kind)

    def _is_repeat(self, refusal: Refusal, kind: Kind) -> bool:
        """Count a refusal whose like was recorded within the second."""
        named = refusal.identities and replace(refusal.identities, message_id="")
        alike = (refusal.code, named, refusal.subjects, refusal.purpose)
        fold = self._folds.setdefault(alike, _Fold(refusal, kind))
        if fold.first is refusal:
            return False
        fold.repeats += 1
        return True

    async def _record(self, refusal: Refusal, kind: Kind) -> None:
        """A server without a good certificate records it all the same, unsigned."""
        try:
            signed = await self._signer.sign(refusal, kind)
        except Fault:
            await self._log.record_unsigned(kind, refusal)
        else:
            await self._log.record(signed)

    def _refusal(self, fault: Fault, request: Request | None) -> Refusal:
        block = request.purpose_block if request else None
        found = fault.found if isinstance(fault, SubjectMismatch) else ()
        declared = block.subjects if block else ()
        return Refusal(
            issued_at=self._clock(),
            origin=self._server,
            code=fault.code,
            detail=fault.detail,
            execution=fault.execution,
            identities=request.identities if request else None,
            refused=fault.refused,
            purpose=self._listed("purposes", block.purpose if block else ""),
            legal_basis=self._listed("legal_bases", block.legal_basis if block else ""),
            subjects=tuple(dict.fromkeys((*declared, *found))),
        )

    def _listed(self, name: str, code: str) -> str:
        """Give the code back if it is the instance's, so no caller's text is kept."""
        try:
            listed = getattr(self._configuration.current(), name)
        except Fault:
            return ""
        return code if code in listed else ""


def _kind_of(fault: Fault) -> Kind:
    if isinstance(fault, Cancelled):
        return Kind.CANCELLED
    return Kind.RESPONSE_FAILED if fault.refused else Kind.REQUEST_REFUSED
