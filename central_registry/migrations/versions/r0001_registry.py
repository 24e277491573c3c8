"""The registry's tables."""

from alembic import op

revision = "0001"
down_revision = None

TABLES = """
CREATE TABLE registry.member (
    id text PRIMARY KEY,
    name text NOT NULL,
    registered_at timestamptz NOT NULL
);
CREATE TABLE registry.subsystem (
    id text PRIMARY KEY,
    member text NOT NULL REFERENCES registry.member,
    registered_at timestamptz NOT NULL,
    CHECK (starts_with(id, member || '/'))
);
CREATE TABLE registry.security_server (
    id text PRIMARY KEY,
    owner text NOT NULL REFERENCES registry.member,
    address text NOT NULL,
    registered_at timestamptz NOT NULL,
    CHECK (starts_with(id, owner || '/'))
);
CREATE TABLE registry.carried_subsystem (
    server text NOT NULL REFERENCES registry.security_server,
    subsystem text NOT NULL REFERENCES registry.subsystem,
    registered_at timestamptz NOT NULL,
    PRIMARY KEY (server, subsystem)
);
CREATE TABLE registry.authentication_certificate (
    thumbprint bytea PRIMARY KEY,
    position bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    server text NOT NULL REFERENCES registry.security_server,
    der bytea NOT NULL,
    state text NOT NULL,
    registered_at timestamptz NOT NULL,
    withdrawn_at timestamptz,
    CHECK (thumbprint = sha256(der)),
    CHECK (state IN ('REGISTERED', 'WITHDRAWN')),
    CHECK ((state = 'WITHDRAWN') = (withdrawn_at IS NOT NULL))
);
CREATE TABLE registry.checkpoint_key (
    key text PRIMARY KEY,
    position bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    server text NOT NULL REFERENCES registry.security_server,
    registered_at timestamptz NOT NULL
);
CREATE TABLE registry.approved_authority (
    kind text NOT NULL,
    thumbprint bytea NOT NULL,
    position bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    name text NOT NULL,
    certificate bytea NOT NULL,
    url text NOT NULL,
    approved_at timestamptz NOT NULL,
    PRIMARY KEY (kind, thumbprint),
    CHECK (kind IN ('CERTIFICATION', 'TIME_STAMPING')),
    CHECK (thumbprint = sha256(certificate))
);
CREATE TABLE registry.listed_code (
    list text NOT NULL,
    code text NOT NULL,
    name text NOT NULL,
    listed_at timestamptz NOT NULL,
    PRIMARY KEY (list, code),
    CHECK (list IN ('PURPOSES', 'LEGAL_BASES'))
);
CREATE TABLE registry.registration_request (
    number bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    kind text NOT NULL,
    subject text NOT NULL,
    name text NOT NULL,
    server text NOT NULL,
    address text NOT NULL,
    certificate bytea NOT NULL,
    checkpoint_key text NOT NULL,
    state text NOT NULL,
    asked_at timestamptz NOT NULL,
    decided_at timestamptz,
    reason text NOT NULL,
    CHECK (kind IN ('MEMBER', 'SUBSYSTEM', 'SERVER')),
    CHECK (state IN ('WAITING', 'APPROVED', 'REJECTED')),
    CHECK ((state = 'WAITING') = (decided_at IS NULL))
);
CREATE UNIQUE INDEX registration_request_waiting
    ON registry.registration_request (kind, subject, server) WHERE state = 'WAITING';
CREATE TABLE registry.published_part (
    sha256 bytea PRIMARY KEY,
    content bytea NOT NULL,
    CHECK (sha256 = sha256(content))
);
CREATE TABLE registry.published_configuration (
    version bigint PRIMARY KEY,
    hash bytea NOT NULL UNIQUE,
    directory bytea NOT NULL,
    signature bytea NOT NULL,
    signer bytea NOT NULL,
    issued_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    CHECK (hash = sha256(directory)),
    CHECK (version > 0)
);
CREATE TABLE registry.published_content (
    version bigint NOT NULL REFERENCES registry.published_configuration,
    name text NOT NULL,
    sha256 bytea NOT NULL REFERENCES registry.published_part,
    PRIMARY KEY (version, name)
);
"""
REFUSAL = """
CREATE FUNCTION registry.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING MESSAGE = 'never changed once published: ' || TG_TABLE_NAME;
END
$$;
"""
APPEND_ONLY = ("published_part", "published_configuration", "published_content")
GUARD = """
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON registry.{table}
    FOR EACH ROW EXECUTE FUNCTION registry.refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON registry.{table}
    FOR EACH STATEMENT EXECUTE FUNCTION registry.refuse_change();
ALTER TABLE registry.{table} ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE registry.{table} ENABLE ALWAYS TRIGGER refuse_truncate;
"""


def upgrade() -> None:
    for script in (TABLES, REFUSAL, *(GUARD.format(table=t) for t in APPEND_ONLY)):
        op.get_bind().exec_driver_sql(script)
