"""What one security server is told before it starts."""

from pathlib import Path

from pydantic import field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from vocabulary.identifiers import SecurityServerId


class Settings(BaseSettings):
    """One TOML file; a secret may come from the environment instead, as RISTMIK_…."""

    model_config = SettingsConfigDict(
        extra="forbid", env_prefix="RISTMIK_", frozen=True
    )

    id: SecurityServerId
    # Holds what must survive: configuration, certificate status, subject-index keys.
    directory: Path
    # The configuration anchor, as the registry's operator gave it.
    anchor: Path
    # Login role that owns nothing; and the one that may delete openings.
    database_dsn: str
    eraser_dsn: str
    # Role that may read the ledger to verify it; named so that a migration lets it.
    reader_role: str
    # host:port.
    local_listen: str
    peer_listen: str
    http_listen: str
    admin_socket: Path
    # PEM files.
    signing_key: Path
    signing_certificate: Path
    authentication_key: Path
    authentication_certificate: Path
    checkpoint_key: Path

    @field_validator("id", mode="before")
    @classmethod
    def _parse_id(cls, text: object) -> SecurityServerId:
        return SecurityServerId.parse(str(text))
