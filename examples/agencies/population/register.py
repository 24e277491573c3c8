"""What the population register holds, and the three ways to look it up."""

from collections import defaultdict
from collections.abc import Sequence

from examples.agencies.persons import Person, all_persons

PAGE_SIZE = 20
LIMIT = 100


class Register:
    def __init__(self, persons: Sequence[Person] = ()) -> None:
        persons = persons or all_persons()
        self._by_id = {person.id: person for person in persons}
        self._by_name = sorted(persons, key=_name)
        self._by_municipality: defaultdict[str, list[Person]] = defaultdict(list)
        for person in persons:
            self._by_municipality[person.municipality.casefold()].append(person)

    def get(self, identifier: str) -> Person | None:
        return self._by_id.get(identifier)

    def find(self, *, given_name: str, family_name: str) -> tuple[list[Person], bool]:
        """Give persons whose names begin so, and whether there are more."""
        family, given = family_name.casefold(), given_name.casefold()
        found = [
            person
            for person in self._by_name
            if person.family_name.casefold().startswith(family)
            and person.given_name.casefold().startswith(given)
        ]
        return found[:LIMIT], len(found) > LIMIT

    def page(
        self, municipality: str, *, size: int, token: str
    ) -> tuple[list[Person], str]:
        """Give one page and the token of the next; ValueError for another's token."""
        persons = self._by_municipality.get(municipality.casefold(), [])
        # A place in the list, not a person: tokens are logged where bodies are not.
        if token and not (token.isascii() and token.isdigit()):
            raise ValueError("not a token that this register has given")
        start = int(token or 0)
        if start and start >= len(persons):
            raise ValueError("not a token that this register has given for this place")
        end = start + min(size, LIMIT)
        return persons[start:end], str(end) if end < len(persons) else ""


def _name(person: Person) -> tuple[str, str, str]:
    return person.family_name, person.given_name, person.id
