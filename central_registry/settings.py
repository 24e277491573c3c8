"""What an operator decides about one registry."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, PositiveInt, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import make_url

from central_registry.publisher import Intervals
from trust.registration import parse_address
from vocabulary.dsn import sqlalchemy_url, user_of
from vocabulary.identifiers import MemberId

# Served configurations are counted in 32 bits of seconds.
Seconds = Annotated[PositiveInt, Field(lt=1 << 32)]


def _instance(text: str) -> str:
    return MemberId.parse(f"{text}/class/code").instance


def _dsn(text: str) -> str:
    if not make_url(sqlalchemy_url(text)).username:
        raise ValueError("a DSN that names the role to log in with")
    return text


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="RISTMIK_REGISTRY_", extra="forbid", frozen=True
    )

    instance: Annotated[str, AfterValidator(_instance)]
    # Signing key, anchor, and a copy of the newest configuration.
    directory: Path
    database_dsn: Annotated[str, AfterValidator(_dsn)]
    # host:port; port 0 takes a free one.
    listen: str
    # Where security servers find it, if that is not where it listens.
    address: str | None = None
    admin_socket: Path
    generation_interval_s: Seconds = 60
    validity_s: Seconds = 600
    ocsp_freshness_s: Seconds = 3600
    ocsp_fetch_interval_s: Seconds = 1200
    time_stamping_interval_s: Seconds = 60

    @model_validator(mode="after")
    def _lasts_until_the_next(self) -> Self:
        if self.validity_s <= self.generation_interval_s:
            raise ValueError("validity_s must be longer than generation_interval_s")
        return self

    @model_validator(mode="after")
    def _can_be_found(self) -> Self:
        if self.address is not None:
            parse_address(self.address)
        elif self.listen.startswith(("0.0.0.0:", "[::]:")):
            raise ValueError(
                "address says where security servers find a registry that listens on "
                "every interface"
            )
        return self

    @property
    def login(self) -> str:
        """The role that the service logs in with."""
        return user_of(self.database_dsn)

    @property
    def intervals(self) -> Intervals:
        return Intervals(
            generation=timedelta(seconds=self.generation_interval_s),
            validity=timedelta(seconds=self.validity_s),
            ocsp_freshness=timedelta(seconds=self.ocsp_freshness_s),
            ocsp_fetch=timedelta(seconds=self.ocsp_fetch_interval_s),
            time_stamping=timedelta(seconds=self.time_stamping_interval_s),
        )
