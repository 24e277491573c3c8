"""What was published, as rows of one transaction: appended, and never changed."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select
from sqlalchemy.dialects.postgresql import insert as upsert

from central_registry import tables


@dataclass(frozen=True, slots=True)
class Head:
    """What is asked about the newest one each second."""

    version: int
    issued_at: datetime
    signer: bytes


@dataclass(frozen=True, slots=True)
class Publication:
    """One global configuration, as it was signed."""

    version: int
    issued_at: datetime
    expires_at: datetime
    # A serialised ConfigurationDirectory, and the parts that it names.
    directory: bytes
    signature: bytes
    signer: bytes
    parts: Mapping[str, bytes]

    @property
    def hash(self) -> bytes:
        return hashlib.sha256(self.directory).digest()


def head(connection: Connection) -> Head | None:
    table = tables.published_configuration
    row = connection.execute(
        select(table.c.version, table.c.issued_at, table.c.signer)
        .order_by(table.c.version.desc())
        .limit(1)
    ).one_or_none()
    return row and Head(row.version, row.issued_at, bytes(row.signer))


def newest(connection: Connection) -> Publication | None:
    table = tables.published_configuration
    row = connection.execute(
        select(table).order_by(table.c.version.desc()).limit(1)
    ).one_or_none()
    if row is None:
        return None
    content, part = tables.published_content, tables.published_part
    parts = connection.execute(
        select(content.c.name, part.c.content)
        .join(part, part.c.sha256 == content.c.sha256)
        .where(content.c.version == row.version)
        .order_by(content.c.name)
    )
    return Publication(
        version=row.version,
        issued_at=row.issued_at,
        expires_at=row.expires_at,
        directory=bytes(row.directory),
        signature=bytes(row.signature),
        signer=bytes(row.signer),
        parts={name: bytes(octets) for name, octets in parts},
    )


def append(connection: Connection, publication: Publication) -> None:
    """Append it; IntegrityError if its version was published before."""
    connection.execute(
        insert(tables.published_configuration).values(
            version=publication.version,
            hash=publication.hash,
            directory=publication.directory,
            signature=publication.signature,
            signer=publication.signer,
            issued_at=publication.issued_at,
            expires_at=publication.expires_at,
        )
    )
    for name, content in publication.parts.items():
        digest = hashlib.sha256(content).digest()
        connection.execute(
            upsert(tables.published_part)
            .values(sha256=digest, content=content)
            .on_conflict_do_nothing()
        )
        connection.execute(
            insert(tables.published_content).values(
                version=publication.version, name=name, sha256=digest
            )
        )
