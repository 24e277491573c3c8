"""The made-up persons that the population and health registers both know.

The same on every machine and every start: each choice is drawn from a hash of the seed,
the person's number and what is chosen. Serial numbers are from 900 up, which hardly any
living person bears; two persons stand in every register, for examples.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from typing import TypeVar

from examples.agencies import names
from examples.agencies.personal_codes import is_female, parse_person_id, person_id

SEED = 2026
COUNT = 3000
# What the registers know is as of this day, so that it is the same every day.
TODAY = date(2026, 1, 1)
OLDEST_DAYS = 36_000
FIRST_SERIAL, SERIALS = 900, 100

Choice = TypeVar("Choice")


@dataclass(frozen=True, slots=True)
class Person:
    id: str
    given_name: str
    family_name: str
    birth_date: date
    municipality: str
    street: str
    postal_code: str

    @property
    def female(self) -> bool:
        return is_female(self.id)


class Draw:
    """Choices about one thing that do not depend on the order they are made in."""

    def __init__(self, *about: object) -> None:
        self._about = "/".join(map(str, about))

    def number(self, what: str, below: int) -> int:
        digest = hashlib.sha256(f"{self._about}/{what}".encode()).digest()
        return int.from_bytes(digest[:8]) % below

    def one_of(self, what: str, choices: Sequence[Choice]) -> Choice:
        return choices[self.number(what, len(choices))]


EXAMPLES = (
    # The person of the documents' examples.
    ("PNOEE-39901012239", "Mati", "Näidis"),
    # The specimen that Estonian test ID cards are issued to.
    ("PNOEE-38001085718", "Jaak-Kristjan", "Jõeorg"),
)


@cache
def all_persons() -> tuple[Person, ...]:
    """Give the persons of the sandbox, ordered by identifier."""
    return generate(SEED, COUNT)


def generate(seed: int, count: int) -> tuple[Person, ...]:
    """Give `count` persons, the examples first of all, ordered by identifier."""
    found = {}
    for identifier, given, family in EXAMPLES:
        draw = Draw(seed, identifier)
        found[identifier] = _person(draw, identifier, given=given, family=family)
    number = 0
    while len(found) < count:
        draw = Draw(seed, number)
        number += 1
        identifier = _identifier(draw)
        # Two people were drawn with one identifier: the first keeps it.
        found.setdefault(identifier, _person(draw, identifier))
    return tuple(sorted(found.values(), key=lambda person: person.id))


def _identifier(draw: Draw) -> str:
    return person_id(
        female=draw.number("sex", 100) < 52,  # noqa: PLR2004 - women in a hundred
        birth_date=TODAY - timedelta(days=1 + draw.number("age", OLDEST_DAYS)),
        serial=FIRST_SERIAL + draw.number("serial", SERIALS),
    )


def _person(
    draw: Draw, identifier: str, *, given: str = "", family: str = ""
) -> Person:
    given_names = names.FEMALE if is_female(identifier) else names.MALE
    number, flat = 1 + draw.number("house", 80), draw.number("flat", 60)
    street = f"{draw.one_of('street', names.STREETS)} {number}"
    return Person(
        id=identifier,
        given_name=given or draw.one_of("given name", given_names),
        family_name=family or draw.one_of("family name", names.FAMILY),
        birth_date=parse_person_id(identifier),
        municipality=draw.one_of("municipality", names.MUNICIPALITIES),
        street=f"{street}-{flat}" if flat else street,
        postal_code=str(10_000 + draw.number("postal code", 90_000)),
    )
