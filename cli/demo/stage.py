"""What the chapters of the demo act on: one call, two servers, and their ledgers."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from cli.commands.call import Caller, Outcome, purpose_metadata
from cli.commands.ledger import reading
from cli.connection import administration, ask, server_carrying
from cli.demo.narration import Narration, NotSo
from cli.ledger_verification import verify_ledger
from cli.parts import Parts, ServerPart
from ledger.entry import LinkedEntry
from ledger.store import LedgerReader
from ledger.verification import Verification
from messaging.wire.identifiers import service_to_pb, subsystem_to_pb
from protos.v1 import identifier_pb2
from protos.v1.administration_pb2 import (
    AccessRight,
    GrantAccessRequest,
    ListAccessRequest,
    RevokeAccessRequest,
)
from vocabulary.identifiers import ServiceId, SubsystemId

T = TypeVar("T")

CALL_TIMEOUT_S: Final = 30
WITHIN_S: Final = 20.0
_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Example:
    """A call that succeeds, as the instance names it."""

    client: SubsystemId
    service: ServiceId
    method: str
    json: str
    subject: str
    purpose: str
    legal_basis: str

    @classmethod
    def parse(cls, document: Mapping[str, str]) -> "Example":
        return cls(
            SubsystemId.parse(document["client"]),
            ServiceId.parse(document["service"]),
            *(
                document[key]
                for key in ("method", "json", "subject", "purpose", "legal_basis")
            ),
        )


class Stage:
    """An instance on which the demo is played, and what has happened so far."""

    def __init__(self, parts: Parts, narration: Narration, *, elsewhere: Path) -> None:
        """Checkpoints are kept in `elsewhere`, out of every server's reach."""
        self.parts = parts
        self.example = example = Example.parse(parts.example)
        self.narration = narration
        self.elsewhere = elsewhere
        self.consumer = server_carrying(parts, example.client)
        self.provider = server_carrying(parts, example.service.provider)
        # Of the call that the story is about, once it was made.
        self.message_id = ""

    def call(self, *, subject: str | None = None) -> Outcome:
        """Make the example's call, about another person than it names if asked to."""
        example = self.example
        caller = Caller(
            self.consumer, client=str(example.client), service=str(example.service)
        )
        purposes = purpose_metadata(
            [subject or example.subject],
            purpose=example.purpose,
            legal_basis=example.legal_basis,
        )
        return caller.call(
            example.method, example.json, purposes=purposes, timeout=CALL_TIMEOUT_S
        )

    def rights(self) -> list[AccessRight]:
        """List what the provider has granted to the client on the service."""
        with administration(self.provider) as stub:
            listed = ask(
                stub.ListAccess, ListAccessRequest(), of=str(self.provider.id)
            ).rights
        return [
            right
            for right in listed
            if (right.service, right.client) == (self._service, self._client)
        ]

    def grant(self, *methods: str) -> None:
        """Grant these methods of the service, the whole service for an empty name."""
        with administration(self.provider) as stub:
            for method in methods:
                request = GrantAccessRequest(right=self._right(method))
                ask(stub.GrantAccess, request, of=str(self.provider.id))

    def revoke_all(self) -> None:
        granted = self.rights()
        with administration(self.provider) as stub:
            for right in granted:
                request = RevokeAccessRequest(right=right)
                ask(stub.RevokeAccess, request, of=str(self.provider.id))

    @contextmanager
    def ledger(self, server: ServerPart) -> Iterator[LedgerReader]:
        with reading(self.parts, server) as reader:
            yield reader

    def entries(self, server: ServerPart, message_id: str) -> list[LinkedEntry]:
        with self.ledger(server) as reader:
            return reader.of_message(message_id)

    def until(self, claim: str, look: Callable[[], T | None]) -> T:
        """Look until there is something; NotSo if there is nothing in time."""
        end = time.monotonic() + WITHIN_S
        while (found := look()) is None:
            if time.monotonic() > end:
                raise NotSo(claim)
            time.sleep(_POLL_S)
        return found

    def verify(self, server: ServerPart, *, against: Path | None) -> Verification:
        """Verify a server's ledger, against a checkpoint that was kept elsewhere."""
        return verify_ledger(self.parts, server, against=against)

    def name(self, server: ServerPart) -> str:
        """Call a server what tables have room for: by the subsystem behind it."""
        behind = (
            code.code for code, id_ in self.parts.clients.items() if id_ == server.id
        )
        return next(behind, str(server.id))

    def kept_checkpoint(self, server: ServerPart) -> Path:
        """Name the file in which a server's checkpoint is kept elsewhere."""
        return self.elsewhere / f"{self.name(server)}.note"

    @property
    def _service(self) -> identifier_pb2.ServiceId:
        return service_to_pb(self.example.service)

    @property
    def _client(self) -> identifier_pb2.SubsystemId:
        return subsystem_to_pb(self.example.client)

    def _right(self, method: str) -> AccessRight:
        return AccessRight(service=self._service, client=self._client, method=method)
