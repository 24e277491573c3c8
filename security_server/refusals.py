"""What this server says no to, signed by its owner and recorded before it is said.

One thing leaves unrecorded: that the ledger is down, which it cannot hold. It carries
no answer, and the caller has to know what became of the call.
"""

from contextlib import suppress
from dataclasses import dataclass

from ledger.record import Kind
from messaging.envelope import Request
from messaging.parts import Refusal
from messaging.signers import Configured
from messaging.signing import SignedPart
from messaging.verification import VerifiedRequest
from messaging.wire.heads import encode_refusal
from security_server.message_log import MessageLog
from security_server.signer import FaultSigner
from vocabulary.clock import Clock
from vocabulary.faults import Cancelled, Fault, LedgerUnavailable, SubjectMismatch
from vocabulary.identifiers import SecurityServerId
from vocabulary.imprint import Imprint


@dataclass(frozen=True, slots=True)
class Said:
    """A signed fault on its way to a peer; no row hash if the ledger was down."""

    message: SignedPart
    row_hash: bytes


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

    async def answer(
        self, fault: Fault, *, part: Imprint, verified: VerifiedRequest | None
    ) -> Said:
        """Refuse a peer's part; the client is named only where it is believed."""
        fault.origin, fault.refused = self._server, part
        request = verified.request if verified else None
        refusal = self._refusal(fault, request)
        kind = Kind.RESPONSE_FAILED if verified else Kind.REQUEST_REFUSED
        signed = await self._signer.sign(refusal, kind)
        try:
            logged = await self._log.record(signed)
        except LedgerUnavailable:
            return Said(signed.message, row_hash=b"")
        return Said(signed.message, logged.row_hash)

    async def record(self, request: Request, fault: Fault) -> None:
        """Record that a client of ours got a fault of ours instead of an answer.

        Before anything was sent its request is refused; after that the response failed.
        A server without a good certificate records it all the same, unsigned.
        """
        fault.origin = self._server
        kind = _kind_of(fault)
        refusal = self._refusal(fault, request)
        with suppress(LedgerUnavailable):
            try:
                signed = await self._signer.sign(refusal, kind)
            except Fault:
                await self._log.record_unsigned(kind, encode_refusal(refusal), fault)
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
