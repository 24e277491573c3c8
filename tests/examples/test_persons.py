"""Valid personal codes, the same persons every time."""

import hashlib
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.agencies.personal_codes import (
    check_digit,
    is_female,
    parse_person_id,
    person_id,
)
from examples.agencies.persons import COUNT, TODAY, all_persons, generate


# The published specimens of Estonian test certificates.
@pytest.mark.parametrize(
    ("code", "born"),
    [
        ("38001085718", date(1980, 1, 8)),
        ("39901012239", date(1999, 1, 1)),
        ("60001019906", date(2000, 1, 1)),
        ("30303039914", date(1903, 3, 3)),
    ],
)
def test_known_codes_are_valid(code: str, born: date):
    assert parse_person_id(f"PNOEE-{code}") == born


# First pass 10, second pass 10: the digit is 0 by rule, not by remainder.
def test_both_passes_may_overflow():
    first_ten = next(
        text
        for number in range(10**4)
        if _remainders(text := f"399010{number:04}") == [10, 10]
    )
    assert check_digit(first_ten) == "0"


def _remainders(first_ten: str) -> list[int]:
    passes = ("1234567891", "3456789123")
    return [
        sum(int(a) * int(b) for a, b in zip(weights, first_ten, strict=True)) % 11
        for weights in passes
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("39901012239", "PNOEE"),
        ("PNOLV-39901012239", "PNOEE"),
        ("PNOEE-3990101223", "eleven"),
        ("PNOEE-99901012239", "eleven"),
        ("PNOEE-3990101223٩", "eleven"),
        ("PNOEE-39902302239", "date"),
        ("PNOEE-39901012238", "check digit"),
    ],
)
def test_wrong_identifiers_are_refused_with_the_reason(text: str, why: str):
    with pytest.raises(ValueError, match=why):
        parse_person_id(text)


@given(
    female=st.booleans(),
    born=st.dates(date(1800, 1, 1), date(2199, 12, 31)),
    serial=st.integers(0, 999),
)
def test_what_is_made_parses(*, female: bool, born: date, serial: int):
    made = person_id(female=female, birth_date=born, serial=serial)
    assert parse_person_id(made) == born
    assert is_female(made) == female


@given(serial=st.integers(0, 999), place=st.integers(0, 10), digit=st.integers(0, 9))
def test_one_mistyped_digit_is_noticed(serial: int, place: int, digit: int):
    made = person_id(female=True, birth_date=date(1988, 8, 8), serial=serial)
    code = list(made.removeprefix("PNOEE-"))
    if code[place] == str(digit):
        return
    code[place] = str(digit)
    # The second pass is only taken where the first gives 10, so two codes that take
    # different passes may share a digit; every other slip is caught.
    first_ten = "".join(code[:10])
    if _remainders(first_ten)[0] == 10 or _remainders(made[6:16])[0] == 10:
        return
    with pytest.raises(ValueError, match=r"PNOEE|date|check digit"):
        parse_person_id("PNOEE-" + "".join(code))


def test_the_persons_are_the_same_on_every_machine():
    persons = all_persons()
    digest = hashlib.sha256("\n".join(map(repr, persons)).encode()).hexdigest()
    assert digest[:16] == "34860af41e79e82d"


def test_every_person_has_a_valid_code_and_was_born():
    persons = all_persons()
    assert len({person.id for person in persons}) == len(persons) == COUNT
    assert all(parse_person_id(p.id) == p.birth_date < TODAY for p in persons)
    assert {"PNOEE-39901012239", "PNOEE-38001085718"} <= {p.id for p in persons}


def test_another_seed_gives_others():
    assert set(generate(1, 50)) & set(generate(2, 50)) == set()
