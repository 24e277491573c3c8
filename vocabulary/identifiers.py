"""Names of members, subsystems, services and security servers, and of persons.

Every identifier starts with its instance. `parse` raises ValueError; the edge that read
the text knows which fault that is.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Self
from uuid import UUID

# A component ends up in paths, metadata, SQL and pages: nothing in it needs escaping.
_COMPONENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# ETSI EN 319 412-1 §5.1.3: type, country, hyphen, identifier; or a local "xx:" type.
_PERSON = re.compile(r"(PAS|IDC|PNO|TAX|TIN)[A-Z]{2}-[A-Za-z0-9._/-]{1,64}")
_UUID_VERSION = 7


# A server meets the same few identifiers in every message.
@lru_cache(maxsize=4096)
def _components(text: str, count: int, what: str) -> tuple[str, ...]:
    parts = tuple(text.split("/"))
    if len(parts) != count or not all(map(_COMPONENT.fullmatch, parts)):
        raise ValueError(f"not a {what} identifier: {text[:200]!r}")
    return parts


@dataclass(frozen=True, slots=True, order=True)
class MemberId:
    """An organisation on the bus, as `EE/GOV/70000349`."""

    instance: str
    member_class: str
    member_code: str

    def __str__(self) -> str:
        return "/".join((self.instance, self.member_class, self.member_code))

    @classmethod
    def parse(cls, text: str) -> Self:
        return cls(*_components(text, 3, "member"))


@dataclass(frozen=True, slots=True, order=True)
class SubsystemId:
    """A member's information system, as `EE/GOV/70000349/tax`."""

    member: MemberId
    code: str

    def __str__(self) -> str:
        return f"{self.member}/{self.code}"

    @classmethod
    def parse(cls, text: str) -> Self:
        *member, code = _components(text, 4, "subsystem")
        return cls(MemberId(*member), code)


@dataclass(frozen=True, slots=True, order=True)
class ServiceId:
    """One version of one service, as `EE/GOV/70008440/population/persons/v1`."""

    provider: SubsystemId
    code: str
    version: str

    def __str__(self) -> str:
        return f"{self.provider}/{self.code}/{self.version}"

    @classmethod
    def parse(cls, text: str) -> Self:
        *member, subsystem, code, version = _components(text, 6, "service")
        return cls(SubsystemId(MemberId(*member), subsystem), code, version)


@dataclass(frozen=True, slots=True, order=True)
class SecurityServerId:
    """An agency's gateway to the bus, as `EE/GOV/70000349/ss1`."""

    owner: MemberId
    code: str

    def __str__(self) -> str:
        return f"{self.owner}/{self.code}"

    @classmethod
    def parse(cls, text: str) -> Self:
        *owner, code = _components(text, 4, "security server")
        return cls(MemberId(*owner), code)

    @property
    def host_name(self) -> str:
        """The SAN of its authentication certificates: a name, not an address."""
        owner = self.owner
        parts = (self.code, owner.member_code, owner.member_class, owner.instance)
        return ".".join((*parts, "ristmik.internal")).lower()


def parse_person(text: str) -> str:
    """Give the semantic identifier of a natural person back, `PNOEE-38001085718`."""
    if not _PERSON.fullmatch(text):
        raise ValueError("not a semantic identifier of a person, such as PNOEE-…")
    return text


def parse_message_id(text: str) -> str:
    """Give a UUIDv7 back in its one spelling (RFC 9562 §5.7)."""
    value = UUID(text)
    if value.version != _UUID_VERSION or str(value) != text:
        raise ValueError(f"not a lower-case UUIDv7: {text[:64]!r}")
    return text
