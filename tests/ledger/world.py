"""A ledger on a real PostgreSQL, with heads and a clock of the tests' own."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from ledger.checkpoint import LogKey, VerifierKey
from ledger.fields import Field, Tag, fields_root
from ledger.record import (
    Evidence,
    HeadSummary,
    Kind,
    LedgerRecord,
    Once,
    RecordedPart,
)
from ledger.sequencer import Sequencer
from ledger.store import migrate
from ledger.subject_keys import SubjectKeys
from ledger.verification import Trust, Verification, verify_ledger
from ledger.writer import Connect
from tests.databases import Databases
from vocabulary.faults import SignatureInvalid
from vocabulary.imprint import Imprint

START = datetime(2026, 11, 25, 12, tzinfo=UTC)
ORIGIN = "EE/GOV/70000349/ss1/log"
ROLES = ("ledger_owner", "ledger_writer", "ledger_reader", "ledger_eraser")
OWNER, WRITER, READER, ERASER = ROLES
MARI, JUHAN = b"PNOEE-38001085718", b"PNOEE-39901012239"
CERTIFICATE, OCSP = b"a certificate", b"a response of its OCSP responder"


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait for what another task or thread brings about."""
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - it has no event to wait for
            await asyncio.sleep(0.01)


@dataclass(slots=True)
class SteppedClock:
    now: datetime = START
    step: timedelta = timedelta(milliseconds=1)

    def __call__(self) -> datetime:
        self.now += self.step
        return self.now


class FakeHeads:
    """Heads in JSON: the ledger must not care what they are."""

    def read(self, part: RecordedPart) -> HeadSummary:
        try:
            told = json.loads(part.head)
            return HeadSummary(
                **{key: told.get(key, "") for key in _TEXTS},
                **{key: told.get(key, 0) for key in ("direction", "part", "status")},
                issued_at=START,
                fields_root=bytes.fromhex(told["fields_root"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a head: {error}") from error


_TEXTS = (
    *("message_id", "client", "service", "method", "consumer_server"),
    *("provider_server", "purpose", "legal_basis", "signer"),
)


class FakeEvidenceVerifier:
    """A signature is the imprint of what was signed, backwards."""

    def verify(
        self,
        part: RecordedPart,
        evidence: Evidence,
        certificates: Mapping[bytes, bytes],
    ) -> None:
        if certificates[evidence.certificate] != CERTIFICATE:
            raise SignatureInvalid("by another certificate")
        if evidence.signature != part.imprint.octets[::-1]:
            raise SignatureInvalid("of another part")


def request(
    number: int = 0,
    *,
    kind: Kind = Kind.REQUEST_RECEIVED,
    fields: Sequence[Field] | None = None,
    subjects: Sequence[bytes] = (MARI,),
    evidence: bool = True,
    **more: Any,
) -> LedgerRecord:
    """Make a record of a request; each number is another one."""
    if fields is None:
        named = [Field.salted(Tag.SUBJECT, each) for each in subjects]
        fields = (Field.salted(Tag.BODY, b"body %d" % number), *named)
    head = {
        "message_id": f"019ab0c4-7000-7000-8000-{number:012x}",
        "client": "EE/GOV/70000349/tax",
        "service": "EE/GOV/70008440/population/persons/v1",
        "method": "population.v1.PersonRegistry/GetPerson",
        "direction": 1,
        "purpose": "tax-audit",
        "legal_basis": "TaxAct/10",
        "fields_root": fields_root(fields).hex(),
    }
    part = RecordedPart("ristmik.open.v1", json.dumps(head).encode())
    proof = evidence_of(part) if evidence else None
    return LedgerRecord(kind, part, tuple(fields), proof, **more)


def evidence_of(part: RecordedPart) -> Evidence:
    return Evidence(
        signature=part.imprint.octets[::-1],
        leaf_index=1,
        leaf_count=2,
        path=(bytes(32),),
        certificate=Imprint.of(CERTIFICATE).digest,
        chain=(),
        ocsp=Imprint.of(OCSP),
    )


def once(number: int, *, until: datetime = START + timedelta(minutes=6)) -> Once:
    return Once(number.to_bytes(32, "big"), until)


@dataclass(slots=True)
class LedgerWorld:
    """One ledger's database, keys and clock; sequencers come and go."""

    postgres: Databases
    name: str
    directory: Path
    clock: SteppedClock = field(default_factory=SteppedClock)
    log_key: LogKey = field(default_factory=lambda: LogKey.generate(ORIGIN))
    _sequencers: list[Sequencer] = field(default_factory=list)

    @classmethod
    def create(
        cls,
        postgres: Databases,
        name: str,
        directory: Path,
        *,
        partition_size: int = 1_000,
    ) -> "LedgerWorld":
        for role in ROLES:
            postgres.create_role(role)
        postgres.create_database(name, owner=OWNER)
        world = cls(postgres, name, directory)
        migrate(
            world.dsn(OWNER),
            writer=WRITER,
            reader=READER,
            eraser=ERASER,
            partition_size=partition_size,
        )
        return world

    @property
    def subject_keys(self) -> SubjectKeys:
        return SubjectKeys(self.directory / "subject-keys")

    @property
    def vkeys(self) -> list[VerifierKey]:
        return [self.log_key.verifier]

    def dsn(self, role: str) -> str:
        return self.postgres.role_dsn(role, database=self.name)

    def superuser(self) -> "psycopg.Connection[Any]":
        return psycopg.connect(self.postgres.superuser_dsn(self.name), autocommit=True)

    def sequencer(self, *, connect: Connect | None = None) -> Sequencer:
        made = Sequencer(
            self.dsn(WRITER),
            log_key=self.log_key,
            heads=FakeHeads(),
            subject_keys=self.subject_keys,
            clock=self.clock,
            connect=connect,
        )
        self._sequencers.append(made)
        return made

    async def started(self, *, connect: Connect | None = None) -> Sequencer:
        sequencer = self.sequencer(connect=connect)
        await sequencer.start()
        await sequencer.put_evidence([CERTIFICATE, OCSP])
        return sequencer

    def verify(self) -> Verification:
        """Everything but time-stamps, which these tests do not ask for."""
        trust = Trust(self.vkeys, (), FakeEvidenceVerifier())
        return verify_ledger(
            self.dsn(READER),
            trust=trust,
            heads=FakeHeads(),
            subject_keys=self.subject_keys,
        )

    def require_sound(self, *, entries: int) -> None:
        result = self.verify()
        assert result.first_bad is None
        assert result.entries == entries

    async def stop(self) -> None:
        for sequencer in self._sequencers:
            await sequencer.stop()
