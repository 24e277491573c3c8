"""What the trust services are told before they start."""

from datetime import timedelta
from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from trust.registration import parse_address, parse_url
from vocabulary.dsn import sqlalchemy_url, user_of
from vocabulary.identifiers import MemberId


class Settings(BaseSettings):
    """One TOML file; a secret may come from the environment instead, as RISTMIK_…."""

    model_config = SettingsConfigDict(
        extra="forbid", env_prefix="RISTMIK_", frozen=True
    )

    instance: str
    # Holds the keys, and what was certified of them, made on the first start.
    directory: Path
    # Login role that owns nothing.
    database_dsn: str
    # host:port.
    http_listen: str
    # What others reach http_listen by; goes into certificates.
    public_url: str = ""
    admin_socket: Path
    # How long a response may be relied on.
    ocsp_validity_s: int = Field(default=600, gt=0)

    @field_validator("instance")
    @classmethod
    def _parse_instance(cls, text: str) -> str:
        return MemberId.parse(f"{text}/class/code").instance

    @field_validator("http_listen")
    @classmethod
    def _parse_listen(cls, text: str) -> str:
        return parse_address(text)

    @field_validator("database_dsn")
    @classmethod
    def _parse_dsn(cls, text: str) -> str:
        sqlalchemy_url(text)
        return text

    @field_validator("public_url")
    @classmethod
    def _parse_url(cls, text: str) -> str:
        return text and parse_url(text).rstrip("/")

    @property
    def login(self) -> str:
        """The role that the service logs in with."""
        return user_of(self.database_dsn)

    @property
    def ocsp_url(self) -> str:
        return f"{self.public_url or f'http://{self.http_listen}'}/ocsp"

    @property
    def ocsp_validity(self) -> timedelta:
        return timedelta(seconds=self.ocsp_validity_s)
