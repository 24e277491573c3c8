"""The ledger as the rest of a server sees it: many append, one writes.

Callers await. All that is waiting is linked and committed at once, in the order in
which it was asked for; nobody waits for a batch to fill. What has been answered is
durable.

When a commit fails or is not answered, its callers are told LedgerUnavailable, since it
cannot be said what became of it, and the ledger recovers from the database before it
writes anything else: by itself, once there is a database. Whoever was told so may
append the same record id again and is given the number it has, or gets one.
"""

import asyncio
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

import psycopg
import structlog

from ledger.checkpoint import LogKey, RoundCheckpoint, VerifierKey
from ledger.findings import LedgerBroken
from ledger.heads import HeadReader
from ledger.record import Appended, LedgerRecord
from ledger.subject_keys import SubjectKeys
from ledger.tail import Superseded
from ledger.writer import Connect, Writer, writer_connection
from vocabulary.clock import Clock
from vocabulary.faults import LedgerUnavailable, LimitExceeded
from vocabulary.imprint import Imprint

log = structlog.get_logger()

T = TypeVar("T")

BATCH_RECORDS: Final = 256
BATCH_OCTETS: Final = 8 << 20
WAITING_RECORDS: Final = 10_000
WAITING_OCTETS: Final = 256 << 20
# A message has 16 MiB at most, and its other fields far less.
RECORD_OCTETS: Final = 64 << 20
# So long may the database leave a commit unanswered before its callers are told.
ANSWER_S: Final = 10.0
RETRY_S: Final = 0.25

_STOPPED = "this server's ledger is stopped; try another server of the cluster"


@dataclass(slots=True, eq=False)
class _Group:
    """Records that one caller wants in one commit."""

    records: Sequence[LedgerRecord]
    octets: int
    answer: "asyncio.Future[list[Appended]]"


@dataclass(slots=True, eq=False)
class _Errand:
    """Something else that only the writer does."""

    call: Callable[[], Any]
    answer: "asyncio.Future[Any]"


class Sequencer:
    def __init__(
        self,
        dsn: str,
        *,
        log_key: LogKey,
        heads: HeadReader,
        subject_keys: SubjectKeys,
        clock: Clock,
        earlier_log_keys: Sequence[VerifierKey] = (),
        connect: Connect | None = None,
    ) -> None:
        self._writer = Writer(
            connect or partial(writer_connection, dsn),
            log_key=log_key,
            earlier_log_keys=earlier_log_keys,
            heads=heads,
            subject_keys=subject_keys,
            clock=clock,
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._waiting: deque[_Group | _Errand] = deque()
        self._waiting_records = self._waiting_octets = 0
        self._asked = asyncio.Event()
        self._answering: list[asyncio.Future[Any]] = []
        self._outage: str | None = "this server's ledger has not started; try again"
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def unavailable(self) -> str | None:
        """Why nothing can be appended now; None if it can."""
        return _STOPPED if self._stopping.is_set() else self._outage

    @property
    def newest_checkpoint(self) -> RoundCheckpoint | None:
        """Of the last closed round."""
        return self._writer.checkpoint

    async def start(self) -> None:
        """Take the ledger over from whoever wrote it last.

        Raise LedgerUnavailable if the database cannot be used, LedgerBroken if what is
        in it is not what was recorded: then nothing may be appended to it.
        """
        try:
            await self._in_thread(partial(self._writer.open, if_still_ours=False))
        except (psycopg.Error, OSError) as error:
            raise LedgerUnavailable(_detail(error)) from error
        self._outage = None
        self._task = asyncio.create_task(self._run(), name="ledger")
        self._task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Commit what is waiting, then let go of the ledger; stopping again is no harm.

        What is asked from now on is refused. A database that does not answer is not
        waited for.
        """
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._asked.set()
        if self._task is not None:
            _, unanswered = await asyncio.wait({self._task}, timeout=ANSWER_S)
            if unanswered:
                self._writer.abandon()
                await asyncio.wait(unanswered)
        await self._in_thread(self._writer.close)
        self._thread.shutdown()

    async def append(self, record: LedgerRecord) -> Appended:
        """Return once `record` is durable; the same record id again gives its number.

        Raise Replayed or OutsideAcceptanceWindow if what it receives may have been
        received before, LedgerUnavailable if it cannot be said to be durable,
        LimitExceeded if too much is waiting, ValueError for a record that cannot be.
        """
        (appended,) = await self.append_all((record,))
        return appended

    async def append_all(self, records: Sequence[LedgerRecord]) -> list[Appended]:
        """Append all of `records` in one commit, or none: see `append`."""
        if not records:
            return []
        octets = sum(record.octets for record in records)
        if max(record.octets for record in records) > RECORD_OCTETS:
            raise LimitExceeded(f"a record of {octets} octets; {RECORD_OCTETS} at most")
        self._require_available()
        if (
            self._waiting_records + len(records) > WAITING_RECORDS
            or self._waiting_octets + octets > WAITING_OCTETS
        ):
            raise LimitExceeded(
                f"ledger queue: {self._waiting_records} records with"
                f" {self._waiting_octets} octets are waiting; ask again later"
            )
        group = _Group(records, octets, asyncio.get_running_loop().create_future())
        self._waiting_records += len(records)
        self._waiting_octets += octets
        self._waiting.append(group)
        self._asked.set()
        return await group.answer

    async def close_round(self) -> RoundCheckpoint:
        """Sign what has been appended so far; what comes after is in the next round.

        Also when nothing has been appended. Raise LedgerUnavailable.
        """
        return await self._errand(self._writer.close_round)

    async def put_evidence(self, ders: Iterable[bytes]) -> None:
        """Keep certificates and OCSP responses before a record refers to them."""
        await self._errand(partial(self._writer.put_evidence, tuple(ders)))

    def has_evidence(self, imprint: Imprint) -> bool:
        """Say whether it is surely kept; False may mean that nobody has asked yet."""
        return imprint in self._writer.evidence_held

    async def evidence(self, imprint: Imprint) -> bytes | None:
        """Give what is kept under `imprint`, DER; None if nothing is."""
        return await self._errand(partial(self._writer.evidence, imprint))

    async def add_time_stamp(self, round_: int, token: bytes) -> None:
        """Keep an RFC 3161 token for the checkpoint of a round, also a late one."""
        await self._errand(partial(self._writer.add_time_stamp, round_, token))

    async def unstamped_rounds(self, limit: int = 100) -> list[RoundCheckpoint]:
        """Give the newest rounds without a token, newest first."""
        return await self._errand(partial(self._writer.unstamped_rounds, limit))

    async def _errand(self, call: Callable[[], T]) -> T:
        self._require_available()
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Errand(call, answer))
        self._asked.set()
        return await answer

    def _require_available(self) -> None:
        if self.unavailable is not None:
            raise LedgerUnavailable(self.unavailable)

    async def _run(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            while self._waiting:
                try:
                    await self._serve()
                except (psycopg.Error, OSError) as error:
                    await self._recover(error)
            if self._stopping.is_set():
                return

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """Nothing writes any more: tell everybody who waits for it."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._outage = _detail(error)
            known = isinstance(error, Superseded | LedgerBroken)
            # Without the values of variables, which are personal.
            trace = None if known else "".join(traceback.format_exception(error))
            log.error("ledger stopped", reason=str(error), trace=trace)
        self._refuse_all(self.unavailable or _STOPPED)

    async def _serve(self) -> None:
        """Answer what has waited longest, and the groups that can go with it."""
        errand = self._waiting[0]
        if isinstance(errand, _Errand):
            self._waiting.popleft()
            self._answering = [errand.answer]
            try:
                _answer(errand.answer, await self._attempt(errand.call))
            except ValueError as error:
                _answer(errand.answer, error)
        elif groups := self._next_groups():
            self._answering = [group.answer for group in groups]
            records = [group.records for group in groups]
            outcomes = await self._attempt(partial(self._writer.append, records))
            for group, outcome in zip(groups, outcomes, strict=True):
                _answer(group.answer, outcome)
        self._answering = []

    def _next_groups(self) -> list[_Group]:
        groups: list[_Group] = []
        records = octets = 0
        while self._waiting and isinstance(group := self._waiting[0], _Group):
            records += len(group.records)
            octets += group.octets
            if groups and (records > BATCH_RECORDS or octets > BATCH_OCTETS):
                break
            # Who no longer waits is not recorded.
            groups += [group] if not group.answer.done() else []
            self._waiting.popleft()
            self._waiting_records -= len(group.records)
            self._waiting_octets -= group.octets
        return groups

    async def _attempt(self, call: Callable[[], T]) -> T:
        """Call it in the writer's thread; tell its callers if that takes too long."""
        running = asyncio.get_running_loop().run_in_executor(self._thread, call)
        done, _ = await asyncio.wait({running}, timeout=ANSWER_S)
        if not done:
            self._outage = f"PostgreSQL has not answered for {ANSWER_S:.0f} s"
            log.warning("ledger waits for its database")
            self._refuse_all(self._outage)
            await asyncio.wait({running})
            self._outage = None
        return await running

    async def _recover(self, error: Exception) -> None:
        """Go on from what the database holds, as soon as there is one."""
        log.warning("ledger lost its database", reason=str(error).strip())
        self._refuse(self._answering, _detail(error))
        while not self._stopping.is_set():
            try:
                await self._attempt(partial(self._writer.open, if_still_ours=True))
            except (psycopg.Error, OSError) as again:
                self._outage = _detail(again)
                self._refuse_all(self._outage)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), RETRY_S)
            else:
                self._outage = None
                log.info("ledger has recovered", entries=self._writer.size)
                return

    def _refuse_all(self, detail: str) -> None:
        waiting = [each.answer for each in self._waiting]
        self._waiting.clear()
        self._waiting_records = self._waiting_octets = 0
        self._refuse([*self._answering, *waiting], detail)

    def _refuse(self, answers: "Iterable[asyncio.Future[Any]]", detail: str) -> None:
        for answer in answers:
            _answer(answer, LedgerUnavailable(detail))
        self._answering = []

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)


def _answer(answer: "asyncio.Future[Any]", outcome: object) -> None:
    """Give the outcome to who asked, if they still wait."""
    if answer.done():
        return
    if isinstance(outcome, Exception):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)


def _detail(error: BaseException) -> str:
    match error:
        case Superseded():
            return f"{error}; this server appends no more until it is restarted"
        case LedgerBroken():
            return (
                f"the ledger is not what it was: {error}; run `ristmik ledger verify`"
            )
        case _:
            return (
                "the ledger's database cannot be used, so nothing is released; see that"
                f" PostgreSQL runs ({type(error).__name__})"
            )
