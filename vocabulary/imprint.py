"""A digest that says which algorithm made it."""

import hashlib
from dataclasses import dataclass
from typing import Self

SHA2_256 = 0x01
_OCTETS = 33


@dataclass(frozen=True, slots=True)
class Imprint:
    """KSI imprint: one octet naming the algorithm, then the digest."""

    octets: bytes

    @classmethod
    def of(cls, data: bytes) -> Self:
        return cls.sha2_256(hashlib.sha256(data).digest())

    @classmethod
    def sha2_256(cls, digest: bytes) -> Self:
        return cls(bytes([SHA2_256]) + digest)

    @classmethod
    def parse(cls, octets: bytes) -> Self:
        """Raise ValueError for another algorithm or length than those we make."""
        if len(octets) != _OCTETS or octets[0] != SHA2_256:
            raise ValueError("not a SHA2-256 imprint")
        return cls(octets)

    @property
    def digest(self) -> bytes:
        return self.octets[1:]

    def __str__(self) -> str:
        return self.octets.hex()
