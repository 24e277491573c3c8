"""Which persons a message names, by the fields that its registration selects. Pure.

A selector is a message's name (full, or the end of it if that is unique) and the path
from there to a string field: "GetPersonRequest.personal_code". It holds wherever in a
request or response that message occurs: nested, repeated, in a oneof, as a map's value.
A path goes through maps by "key" or "value"; "value" may be left out.

A field holds semantic identifiers (`PNOEE-39901012239`), or bare national codes of the
provider's country (`39901012239`), which are read as PNO of that country. An empty one
holds nobody.

Two things are not looked into: google.protobuf.Any, and fields of a message that its
registered descriptor does not have.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from vocabulary.faults import MessageInvalid, RegistrationInvalid, SubjectMismatch
from vocabulary.identifiers import parse_person

# As countries write them: 39901012239, 160789-10024, 131052-308T.
_NATIONAL_CODE: Final = re.compile(r"[0-9][0-9A-Z-]{5,31}")


@dataclass(frozen=True, slots=True)
class Selector:
    """One kind of field that holds a person, by the message it is in."""

    text: str
    message: str
    path: tuple[FieldDescriptor, ...]


def parse_selector(text: str, messages: Mapping[str, Descriptor]) -> Selector:
    """Find the field that `text` names; RegistrationInvalid if there is not just one.

    `messages` are all of a registration's, by full name.
    """
    parts = text.split(".")
    found = [
        selector
        for cut in range(1, len(parts))
        for message in _named(".".join(parts[:cut]), messages)
        if (selector := _selector(text, message, parts[cut:]))
    ]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(selector.message for selector in found)
        raise RegistrationInvalid(
            f"{text!r} may mean a field of {names}: give the message's full name"
        )
    raise RegistrationInvalid(
        f"{text!r} names no string field of the descriptors: write a message's name "
        'and the path to the field, such as "GetPersonRequest.personal_code"'
    )


class Subjects:
    """Reads persons out of messages of one registration, in one direction."""

    def __init__(self, selectors: Sequence[Selector], *, country: str | None) -> None:
        self._paths: dict[str, list[tuple[FieldDescriptor, ...]]] = {}
        for selector in selectors:
            self._paths.setdefault(selector.message, []).append(selector.path)
        self.selectors = selectors
        self._country = country
        self._followed: dict[str, Mapping[str, Sequence[FieldDescriptor]]] = {}

    def may_be_in(self, message: Descriptor) -> frozenset[str]:
        """Give the messages with a selected field that one of this type can hold."""
        return frozenset(self._paths.keys() & _within(message).keys())

    def find(self, message: Descriptor, body: bytes) -> tuple[str, ...]:
        """Name each person in `body` once, in order.

        MessageInvalid if this is no such message, or a subject field holds no person.
        """
        try:
            parsed = GetMessageClass(message).FromString(body)
            values = list(self._values(parsed, self._fields_to_follow(message)))
        except DecodeError as error:
            raise MessageInvalid(
                f"not a {message.full_name}: send what the service's descriptor says"
            ) from error
        return tuple(dict.fromkeys(self._person(value) for value in values if value))

    def _fields_to_follow(
        self, root: Descriptor
    ) -> Mapping[str, Sequence[FieldDescriptor]]:
        if root.full_name not in self._followed:
            self._followed[root.full_name] = _leading_to(self._paths.keys(), root)
        return self._followed[root.full_name]

    def _values(
        self, message: Message, follow: Mapping[str, Sequence[FieldDescriptor]]
    ) -> Iterator[str | bytes]:
        # Parsers refuse messages that are nested deeper than 100 levels.
        name = message.DESCRIPTOR.full_name
        for path in self._paths.get(name, ()):
            yield from _at(message, path)
        for field in follow.get(name, ()):
            for nested in _held(message, field):
                yield from self._values(nested, follow)

    def _person(self, value: str | bytes) -> str:
        # A proto2 string that is not UTF-8 is read as bytes.
        value = value if isinstance(value, str) else ""
        if self._country and _NATIONAL_CODE.fullmatch(value):
            value = f"PNO{self._country}-{value}"
        try:
            return parse_person(value)
        except ValueError as error:
            raise MessageInvalid(
                "a field that identifies persons holds something else; it takes a "
                "semantic identifier such as PNOEE-39901012239, or a national code"
            ) from error


def require_declared(
    found: Sequence[str], declared: Sequence[str], *, identifying: bool
) -> None:
    """Raise SubjectMismatch unless a request names just the persons that are declared.

    Where the method's request has no field that identifies (`identifying` is False), as
    in a list by municipality, the persons it is about stand in the answer, and those
    declared are taken as they are.
    """
    # The detail names nobody: it is logged.
    undeclared = set(found) - set(declared)
    if undeclared:
        raise SubjectMismatch(
            f"the request names {len(undeclared)} person(s) that ristmik-subject does "
            "not: declare each person the request is about",
            tuple(found),
        )
    absent = set(declared) - set(found)
    if identifying and absent:
        raise SubjectMismatch(
            f"ristmik-subject declares {len(absent)} person(s) that the request does "
            "not name: declare those it is about, and no others",
            tuple(found),
        )


def country_of(instance: str) -> str | None:
    """Give the country whose national codes an instance uses: EE of EE-TEST."""
    country = instance.partition("-")[0]
    return country if re.fullmatch("[A-Z]{2}", country) else None


def _named(name: str, messages: Mapping[str, Descriptor]) -> list[Descriptor]:
    if name in messages:
        return [messages[name]]
    return [message for full, message in messages.items() if full.endswith(f".{name}")]


def _selector(text: str, message: Descriptor, names: Sequence[str]) -> Selector | None:
    path: list[FieldDescriptor] = []
    here: Descriptor | None = message
    for name in names:
        if here is not None and _is_map_entry(here) and name not in {"key", "value"}:
            path.append(here.fields_by_name["value"])
            here = path[-1].message_type
        if here is None or name not in here.fields_by_name:
            return None
        path.append(here.fields_by_name[name])
        here = path[-1].message_type
    if here is not None and _is_map_entry(here):
        path.append(here.fields_by_name["value"])
    is_text = path[-1].type == FieldDescriptor.TYPE_STRING
    return Selector(text, message.full_name, tuple(path)) if is_text else None


def _is_map_entry(message: Descriptor) -> bool:
    return bool(message.GetOptions().map_entry)


def _at(message: Message, path: Sequence[FieldDescriptor]) -> Iterator[str | bytes]:
    field, rest = path[0], path[1:]
    if not rest:
        value: Any = getattr(message, field.name)
        yield from value if field.is_repeated else (value,)
    elif field.message_type is not None and _is_map_entry(field.message_type):
        entries: Any = getattr(message, field.name)
        if rest[0].name == "key":
            yield from entries
        elif len(rest) == 1:
            yield from entries.values()
        else:
            for value in entries.values():
                yield from _at(value, rest[1:])
    else:
        for nested in _held(message, field):
            yield from _at(nested, rest)


def _held(message: Message, field: FieldDescriptor) -> Iterator[Message]:
    """Give the messages in one field: none, one, several, or a map's values."""
    value: Any = getattr(message, field.name)
    if field.message_type is not None and _is_map_entry(field.message_type):
        yield from value.values()
    elif field.is_repeated:
        yield from value
    elif message.HasField(field.name):
        yield value


def _within(root: Descriptor) -> dict[str, list[tuple[FieldDescriptor, Descriptor]]]:
    """Give each message that one of type `root` can hold, with its fields of messages.

    Of a map, it is the values that count.
    """
    seen: dict[str, list[tuple[FieldDescriptor, Descriptor]]] = {}
    waiting = [root]
    while waiting:
        message = waiting.pop()
        if message.full_name in seen:
            continue
        held = [
            (field, held_type)
            for field in message.fields
            if (held_type := _message_of(field))
        ]
        seen[message.full_name] = held
        waiting += [held_type for _, held_type in held]
    return seen


def _message_of(field: FieldDescriptor) -> Descriptor | None:
    message = field.message_type
    if message is not None and _is_map_entry(message):
        return message.fields_by_name["value"].message_type
    return message


def _leading_to(
    wanted: Iterable[str], root: Descriptor
) -> Mapping[str, Sequence[FieldDescriptor]]:
    """Give the fields, by message, through which `root` leads to a wanted message."""
    within = _within(root)
    leading = set(wanted)
    while True:
        grown = leading | {
            name
            for name, held in within.items()
            if any(message.full_name in leading for _, message in held)
        }
        if grown == leading:
            break
        leading = grown
    return {
        name: [field for field, message in held if message.full_name in leading]
        for name, held in within.items()
    }
