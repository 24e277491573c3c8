"""What the health fund knows of the persons of the population register."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import Enum

from examples.agencies import names
from examples.agencies.persons import SEED, TODAY, Draw, Person, all_persons

ADULT, RETIRED = 19, 65
YEAR = 365.25
# Of a hundred persons of working age, those who study and those without insurance.
STUDENTS, UNINSURED = 12, 6
MOST_VISITS, VISITS_SINCE_DAYS = 8, 3 * 365


class Basis(Enum):
    CHILD = "child"
    STUDENT = "student"
    EMPLOYEE = "employee"
    PENSIONER = "pensioner"


@dataclass(frozen=True, slots=True)
class Insurance:
    person_id: str
    basis: Basis | None
    insured_from: date | None
    family_physician: str


@dataclass(frozen=True, slots=True)
class Visit:
    id: str
    person_id: str
    date: date
    provider: str
    speciality: str


class Register:
    def __init__(self, persons: Sequence[Person] = ()) -> None:
        self._by_id = {person.id: person for person in persons or all_persons()}

    def insurance(self, identifier: str) -> Insurance | None:
        person = self._by_id.get(identifier)
        return insurance_of(person) if person else None

    def visits(self, identifier: str) -> list[Visit] | None:
        person = self._by_id.get(identifier)
        return visits_of(person) if person else None


def insurance_of(person: Person) -> Insurance:
    draw = Draw(SEED, person.id, "insurance")
    basis = _basis(person, draw)
    begun = _begun(person, basis, draw) if basis else None
    physician = draw.one_of("physician", names.PHYSICIANS)
    return Insurance(person.id, basis, begun, physician)


def _basis(person: Person, draw: Draw) -> Basis | None:
    age = (TODAY - person.birth_date).days / YEAR
    if age < ADULT:
        return Basis.CHILD
    if age >= RETIRED:
        return Basis.PENSIONER
    of_hundred = draw.number("basis", 100)
    if of_hundred < UNINSURED:
        return None
    return Basis.STUDENT if of_hundred < UNINSURED + STUDENTS else Basis.EMPLOYEE


def _begun(person: Person, basis: Basis, draw: Draw) -> date:
    # Children are insured from birth, pensioners from the day they retired, others
    # from some day since they grew up.
    born = person.birth_date
    if basis is Basis.CHILD:
        return born
    if basis is Basis.PENSIONER:
        return born + timedelta(days=round(RETIRED * YEAR))
    grown = born + timedelta(days=round(ADULT * YEAR))
    return grown + timedelta(days=draw.number("begun", 1 + (TODAY - grown).days))


def visits_of(person: Person) -> list[Visit]:
    """Give the visits of the last three years, newest first."""
    draw = Draw(SEED, person.id, "visits")
    lived = (TODAY - person.birth_date).days
    days = {
        draw.number(f"day {number}", min(lived, VISITS_SINCE_DAYS))
        for number in range(draw.number("count", 1 + MOST_VISITS))
    }
    return [
        Visit(
            id=f"V{draw.number(f'id {day}', 10**10):010}",
            person_id=person.id,
            date=TODAY - timedelta(days=day),
            provider=draw.one_of(f"provider {day}", names.CARE_PROVIDERS),
            speciality=draw.one_of(f"speciality {day}", names.SPECIALITIES),
        )
        for day in sorted(days)
    ]
