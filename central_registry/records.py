"""What is registered, as rows of one transaction; the rules are in members."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeAlias, TypeVar

from sqlalchemy import Connection, Row, Select, Table, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from central_registry import tables
from central_registry.requests import Asked, Kind, RegistrationRequest, State
from trust.certificates import Certificate, parse_certificate
from trust.global_configuration import Authority, Member, Server
from vocabulary.identifiers import MemberId, SecurityServerId, SubsystemId

AnyRow: TypeAlias = Row[*tuple[Any, ...]]
AnySelect: TypeAlias = Select[*tuple[Any, ...]]
Value = TypeVar("Value", int, str)


class AuthorityKind(StrEnum):
    CERTIFICATION = "CERTIFICATION"
    TIME_STAMPING = "TIME_STAMPING"


class CodeList(StrEnum):
    PURPOSES = "PURPOSES"
    LEGAL_BASES = "LEGAL_BASES"


class Records:
    """The registry as one transaction sees it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    # Members and subsystems.

    def has_member(self, id_: MemberId) -> bool:
        found = select(tables.member.c.id).where(tables.member.c.id == str(id_))
        return self._exists(found)

    def has_subsystem(self, id_: SubsystemId) -> bool:
        column = tables.subsystem.c.id
        return self._exists(select(column).where(column == str(id_)))

    def members(self) -> list[Member]:
        subsystems = defaultdict(set)
        for row in self._rows(select(tables.subsystem.c.id)):
            id_ = SubsystemId.parse(row.id)
            subsystems[id_.member].add(id_)
        rows = self._rows(select(tables.member).order_by(tables.member.c.id))
        ids = [(MemberId.parse(row.id), row.name) for row in rows]
        return [Member(id_, name, frozenset(subsystems[id_])) for id_, name in ids]

    def add_member(self, id_: MemberId, *, name: str, now: datetime) -> None:
        self._insert(tables.member, id=str(id_), name=name, registered_at=now)

    def add_subsystem(self, id_: SubsystemId, *, now: datetime) -> None:
        self._insert(
            tables.subsystem, id=str(id_), member=str(id_.member), registered_at=now
        )

    # Security servers.

    def server(self, id_: SecurityServerId) -> Server | None:
        return next(iter(self._servers([str(id_)])), None)

    def servers(self) -> list[Server]:
        ids = select(tables.security_server.c.id)
        return self._servers([row.id for row in self._rows(ids)])

    def _servers(self, ids: Iterable[str]) -> list[Server]:
        server, carried = tables.security_server, tables.carried_subsystem
        certificate, key = tables.authentication_certificate, tables.checkpoint_key
        subsystems = self._by_server(select(carried.c.server, carried.c.subsystem))
        ders = self._by_server(
            select(certificate.c.server, certificate.c.der)
            .where(certificate.c.state == "REGISTERED")
            .order_by(certificate.c.position)
        )
        keys = self._by_server(select(key.c.server, key.c.key).order_by(key.c.position))
        rows = self._rows(
            select(server.c.id, server.c.address)
            .where(server.c.id.in_(list(ids)))
            .order_by(server.c.id)
        )
        return [
            Server(
                id=SecurityServerId.parse(row.id),
                address=row.address,
                authentication_certificates=tuple(
                    parse_certificate(bytes(der)) for der in ders[row.id]
                ),
                checkpoint_keys=tuple(keys[row.id]),
                subsystems=frozenset(map(SubsystemId.parse, subsystems[row.id])),
            )
            for row in rows
        ]

    def _by_server(self, query: AnySelect) -> dict[str, list[Any]]:
        found = defaultdict(list)
        for server, value in self._rows(query):
            found[server].append(value)
        return found

    def holder_of_certificate(self, thumbprint: bytes) -> str | None:
        """Give the server that has or had this authentication certificate."""
        table = tables.authentication_certificate
        found = select(table.c.server).where(table.c.thumbprint == thumbprint)
        return self._value(found, str)

    def add_server(self, id_: SecurityServerId, *, address: str, now: datetime) -> None:
        self._insert(
            tables.security_server,
            id=str(id_),
            owner=str(id_.owner),
            address=address,
            registered_at=now,
        )

    def move_server(self, id_: SecurityServerId, *, address: str) -> None:
        table = tables.security_server
        moved = update(table).where(table.c.id == str(id_)).values(address=address)
        self.connection.execute(moved)

    def add_certificate(
        self, server: SecurityServerId, certificate: Certificate, *, now: datetime
    ) -> None:
        self._insert(
            tables.authentication_certificate,
            thumbprint=certificate.thumbprint,
            server=str(server),
            der=certificate.der,
            state="REGISTERED",
            registered_at=now,
        )

    def add_checkpoint_key(
        self, server: SecurityServerId, key: str, *, now: datetime
    ) -> None:
        self._insert(
            tables.checkpoint_key, key=key, server=str(server), registered_at=now
        )

    def carry(
        self, subsystem: SubsystemId, *, on: SecurityServerId, now: datetime
    ) -> None:
        self._insert(
            tables.carried_subsystem,
            server=str(on),
            subsystem=str(subsystem),
            registered_at=now,
        )

    # Authorities and codes.

    def authorities(self, kind: AuthorityKind) -> list[Authority]:
        table = tables.approved_authority
        rows = self._rows(
            select(table.c.name, table.c.certificate, table.c.url)
            .where(table.c.kind == kind)
            .order_by(table.c.position)
        )
        return [
            Authority(row.name, parse_certificate(bytes(row.certificate)), row.url)
            for row in rows
        ]

    def approve_authority(
        self, kind: AuthorityKind, authority: Authority, *, now: datetime
    ) -> None:
        """Approve it, or give one that is approved another name or address."""
        self.connection.execute(
            upsert(tables.approved_authority)
            .values(
                kind=kind,
                thumbprint=authority.certificate.thumbprint,
                name=authority.name,
                certificate=authority.certificate.der,
                url=authority.url,
                approved_at=now,
            )
            .on_conflict_do_update(
                index_elements=["kind", "thumbprint"],
                set_={"name": authority.name, "url": authority.url},
            )
        )

    def codes(self, in_: CodeList) -> dict[str, str]:
        table = tables.listed_code
        rows = self._rows(
            select(table.c.code, table.c.name)
            .where(table.c.list == in_)
            .order_by(table.c.code.collate("C"))
        )
        return {row.code: row.name for row in rows}

    def list_code(self, code: str, *, in_: CodeList, name: str, now: datetime) -> None:
        """List it, or give one that is listed another name."""
        self.connection.execute(
            upsert(tables.listed_code)
            .values(list=in_, code=code, name=name, listed_at=now)
            .on_conflict_do_update(index_elements=["list", "code"], set_={"name": name})
        )

    # Requests.

    def ask(self, asked: Asked, *, now: datetime) -> RegistrationRequest:
        table = tables.registration_request
        values = {name: getattr(asked, name) for name in Asked.__dataclass_fields__} | {
            "state": State.WAITING,
            "asked_at": now,
            "reason": "",
        }
        number = self.connection.execute(
            insert(table).values(values).returning(table.c.number)
        ).scalar_one()
        return RegistrationRequest(number, asked, State.WAITING, now)

    def request(self, number: int) -> RegistrationRequest | None:
        table = tables.registration_request
        rows = self._rows(select(table).where(table.c.number == number))
        return next(map(_request, rows), None)

    def requests(self, *states: State) -> list[RegistrationRequest]:
        table = tables.registration_request
        found = select(table).where(table.c.state.in_(states)).order_by(table.c.number)
        return list(map(_request, self._rows(found)))

    def waiting(self, asked: Asked) -> int | None:
        """Give the number of a request about the same thing that waits already."""
        table = tables.registration_request
        return self._value(
            select(table.c.number).where(
                table.c.state == State.WAITING,
                table.c.kind == asked.kind,
                table.c.subject == asked.subject,
                table.c.server == asked.server,
            ),
            int,
        )

    def decide(
        self, number: int, state: State, *, reason: str, now: datetime
    ) -> RegistrationRequest:
        table = tables.registration_request
        row = self.connection.execute(
            update(table)
            .where(table.c.number == number, table.c.state == State.WAITING)
            .values(state=state, decided_at=now, reason=reason)
            .returning(table)
        ).one()
        return _request(row)

    def _insert(self, table: Table, **values: object) -> None:
        self.connection.execute(insert(table).values(**values))

    def _rows(self, query: AnySelect) -> list[AnyRow]:
        return list(self.connection.execute(query))

    def _value(self, query: AnySelect, kind: type[Value]) -> Value | None:
        value = self.connection.execute(query).scalar_one_or_none()
        return None if value is None else kind(value)

    def _exists(self, query: AnySelect) -> bool:
        return self._value(query, str) is not None


def _request(row: AnyRow) -> RegistrationRequest:
    asked = Asked(
        kind=Kind(row.kind),
        subject=row.subject,
        name=row.name,
        server=row.server,
        address=row.address,
        certificate=bytes(row.certificate),
        checkpoint_key=row.checkpoint_key,
    )
    return RegistrationRequest(
        row.number, asked, State(row.state), row.asked_at, row.decided_at, row.reason
    )
