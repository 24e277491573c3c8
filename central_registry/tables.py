"""The registry's tables, as its migrations make them."""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

SCHEMA = "registry"
METADATA = MetaData(schema=SCHEMA)


def _text(name: str, *more: ForeignKey, primary_key: bool = False) -> Column[str]:
    return Column(name, Text, *more, primary_key=primary_key, nullable=False)


def _octets(name: str, *more: ForeignKey, primary_key: bool = False) -> Column[bytes]:
    return Column(name, LargeBinary, *more, primary_key=primary_key, nullable=False)


def _moment(name: str, *, nullable: bool = False) -> Column[datetime]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


member = Table(
    "member",
    METADATA,
    _text("id", primary_key=True),
    _text("name"),
    _moment("registered_at"),
)
subsystem = Table(
    "subsystem",
    METADATA,
    _text("id", primary_key=True),
    _text("member", ForeignKey("registry.member.id")),
    _moment("registered_at"),
)
security_server = Table(
    "security_server",
    METADATA,
    _text("id", primary_key=True),
    _text("owner", ForeignKey("registry.member.id")),
    _text("address"),
    _moment("registered_at"),
)
# Which server carries which subsystem.
carried_subsystem = Table(
    "carried_subsystem",
    METADATA,
    _text("server", ForeignKey("registry.security_server.id"), primary_key=True),
    _text("subsystem", ForeignKey("registry.subsystem.id"), primary_key=True),
    _moment("registered_at"),
)
authentication_certificate = Table(
    "authentication_certificate",
    METADATA,
    _octets("thumbprint", primary_key=True),
    Column("position", BigInteger, Identity(always=True), nullable=False),
    _text("server", ForeignKey("registry.security_server.id")),
    _octets("der"),
    # REGISTERED or WITHDRAWN; a row is never deleted.
    _text("state"),
    _moment("registered_at"),
    _moment("withdrawn_at", nullable=True),
)
# Every key that has ever signed a server's checkpoints: they are verified for ever.
checkpoint_key = Table(
    "checkpoint_key",
    METADATA,
    _text("key", primary_key=True),
    Column("position", BigInteger, Identity(always=True), nullable=False),
    _text("server", ForeignKey("registry.security_server.id")),
    _moment("registered_at"),
)
approved_authority = Table(
    "approved_authority",
    METADATA,
    # CERTIFICATION or TIME_STAMPING.
    _text("kind", primary_key=True),
    _octets("thumbprint", primary_key=True),
    Column("position", BigInteger, Identity(always=True), nullable=False),
    _text("name"),
    _octets("certificate"),
    _text("url"),
    _moment("approved_at"),
)
listed_code = Table(
    "listed_code",
    METADATA,
    # PURPOSES or LEGAL_BASES.
    _text("list", primary_key=True),
    _text("code", primary_key=True),
    _text("name"),
    _moment("listed_at"),
)
registration_request = Table(
    "registration_request",
    METADATA,
    Column("number", BigInteger, Identity(always=True), primary_key=True),
    _text("kind"),
    _text("subject"),
    _text("name"),
    _text("server"),
    _text("address"),
    _octets("certificate"),
    _text("checkpoint_key"),
    _text("state"),
    _moment("asked_at"),
    _moment("decided_at", nullable=True),
    _text("reason"),
)
# What was published, in append-only tables: a part that has not changed is kept once.
published_part = Table(
    "published_part",
    METADATA,
    _octets("sha256", primary_key=True),
    _octets("content"),
)
published_configuration = Table(
    "published_configuration",
    METADATA,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    _octets("hash"),
    _octets("directory"),
    _octets("signature"),
    _octets("signer"),
    _moment("issued_at"),
    _moment("expires_at"),
    UniqueConstraint("hash"),
)
published_content = Table(
    "published_content",
    METADATA,
    Column(
        "version",
        BigInteger,
        ForeignKey("registry.published_configuration.version"),
        primary_key=True,
        autoincrement=False,
    ),
    _text("name", primary_key=True),
    _octets("sha256", ForeignKey("registry.published_part.sha256")),
)
