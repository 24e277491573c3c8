"""What may be registered, and which persons its messages name."""

from itertools import pairwise

import pytest
from google.protobuf import text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from hypothesis import given
from hypothesis import strategies as st

from security_server.registration.registrations import (
    AccessRight,
    LocalClient,
    Registrations,
)
from security_server.registration.services import (
    DESCRIPTORS_LIMIT,
    ServiceDescription,
    offered_services,
    registered_service,
)
from security_server.registration.subjects import country_of, require_declared
from tests.security_server.descriptors import (
    DESCRIPTORS,
    GET,
    INCOMPLETE,
    LIST,
    LOAD,
    PERSONS,
    POPULATION,
    TAX,
    WATCH,
    WITHOUT_SERVICES,
    file,
    file_set,
    message,
    person,
)
from vocabulary.faults import (
    AccessDenied,
    ClientUnknown,
    MessageInvalid,
    MethodUnknown,
    RegistrationInvalid,
    ServiceUnknown,
    StreamingNotOffered,
    SubjectMismatch,
)
from vocabulary.identifiers import ServiceId

ANN, BEN, CAT = "PNOEE-39901012239", "PNOEE-38001085718", "PASLV-AB12345"


def described(request=("GetRequest.code",), response=("Person.code",), country="EE"):
    return ServiceDescription(
        DESCRIPTORS,
        ["persons.v1.Persons"],
        request_subjects=request,
        response_subjects=response,
        country=country,
    )


def register(descriptors=DESCRIPTORS, address="127.0.0.1:9000", **changed):
    personal = {
        "personal": True,
        "request_subjects": ["GetRequest.code"],
        "response_subjects": ["Person.code"],
    }
    return registered_service(PERSONS, address, descriptors, **(personal | changed))


def test_a_registration_names_its_methods_and_their_shapes():
    service = register()
    assert service.description.grpc_services == ("persons.v1.Persons",)
    assert list(service.description.methods) == [GET, LIST, WATCH, LOAD]
    method = service.description.unary_method(GET)
    assert method.input_type == "persons.v1.GetRequest"
    assert method.output_type == "persons.v1.Answer"


@pytest.mark.parametrize("name", ["persons.v1.Persons/Put", "Get", "", f"/{GET}"])
def test_a_method_that_was_not_registered_is_unknown(name):
    with pytest.raises(MethodUnknown, match="it has"):
        register().description.method(name)


@pytest.mark.parametrize("name", [WATCH, LOAD])
def test_a_streaming_method_is_refused_by_name(name):
    with pytest.raises(StreamingNotOffered, match=name):
        register().description.unary_method(name)


def test_health_and_reflection_are_not_registered():
    health = 'name: "h.proto" package: "grpc.health.v1" service { name: "Health" }'
    own = 'name: "o.proto" package: "o" service { name: "Own" }'
    assert offered_services(file_set(file(health), file(own))) == ("o.Own",)


def test_only_the_services_that_are_named_are_registered():
    text = 'name: "{0}" package: "{0}" service {{ name: "S" }}'
    two = file_set(*(file(text.format(package)) for package in ("a", "b")))
    assert offered_services(two) == ("a.S", "b.S")
    named = registered_service(PERSONS, "127.0.0.1:1", two, grpc_services=["b.S"])
    assert named.description.grpc_services == ("b.S",)
    with pytest.raises(RegistrationInvalid, match="no gRPC service"):
        registered_service(PERSONS, "127.0.0.1:1", two, grpc_services=["c.S"])


REFUSED = {
    "not a set": ({"descriptors": b"\xff"}, "buf build"),
    "an import missing": ({"descriptors": INCOMPLETE}, "--include_imports"),
    "no service": ({"descriptors": WITHOUT_SERVICES}, "no gRPC service"),
    "empty": ({"descriptors": b""}, "no gRPC service"),
    "too large": ({"descriptors": b"\0" * (DESCRIPTORS_LIMIT + 1)}, "limit"),
    "a circle": (
        {
            "descriptors": file_set(
                file('name: "a" dependency: "b"'), file('name: "b" dependency: "a"')
            )
        },
        "contradict",
    ),
    "a type that is not there": (
        {
            "descriptors": file_set(
                file(
                    'name: "a" service { name: "S" method { name: "M" '
                    'input_type: ".Gone" output_type: ".Gone" } }'
                )
            )
        },
        "contradict",
    ),
    "the bus's own name": (
        {
            "descriptors": file_set(
                file('name: "a" package: "ristmik.v1" service { name: "S" }')
            )
        },
        "the bus's own",
    ),
    "no port": ({"address": "population"}, "address"),
    "no request subjects": ({"request_subjects": []}, "request subject"),
    "no response subjects": ({"response_subjects": []}, "response subject"),
    "subjects, not personal": ({"personal": False}, "register it as personal"),
    "no such message": ({"request_subjects": ["Nobody.code"]}, "no string field"),
    "no such field": ({"request_subjects": ["GetRequest.name"]}, "no string field"),
    "a field with no path": ({"request_subjects": ["GetRequest"]}, "no string field"),
    "a number": ({"request_subjects": ["GetRequest.age"]}, "no string field"),
    "a message": ({"response_subjects": ["Answer.person"]}, "no string field"),
    "below a string": ({"request_subjects": ["GetRequest.code.x"]}, "no string"),
    "in no request": ({"request_subjects": ["Person.code"]}, "no request"),
    "in no response": ({"response_subjects": ["GetRequest.code"]}, "no response"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_registration_that_cannot_stand_is_refused_with_its_cure(what):
    changed, cure = REFUSED[what]
    with pytest.raises(RegistrationInvalid, match=cure):
        register(**changed)


def test_a_short_name_that_two_messages_have_is_ambiguous():
    text = """
      name: "{0}.proto" package: "{0}"
      message_type {{ name: "Q" field {{ name: "c" number: 1 type: TYPE_STRING }} }}
      service {{ name: "S" method {{ name: "M" input_type: ".{0}.Q"
                 output_type: ".{0}.Q" }} }}
    """
    both = file_set(*(file(text.format(package)) for package in ("a", "b")))
    with pytest.raises(RegistrationInvalid, match="full name"):
        register(both, request_subjects=["Q.c"], response_subjects=["a.Q.c"])
    register(both, request_subjects=["a.Q.c"], response_subjects=["b.Q.c"])


FOUND = {
    "a field": (["Answer.code"], {"code": ANN}, [ANN]),
    "full name": (["persons.v1.Answer.code"], {"code": ANN}, [ANN]),
    "the other of a oneof": (["Answer.code"], {"person": person(ANN)}, []),
    "nested": (["Answer.person.code"], {"person": person(ANN, BEN)}, [ANN]),
    "repeated": (
        ["Answer.persons.code"],
        {"persons": [person(ANN), person(BEN)]},
        [ANN, BEN],
    ),
    "repeated in repeated": (
        ["Answer.persons.parents.code"],
        {"persons": [person(ANN, BEN), person(CAT, BEN)]},
        [BEN],
    ),
    "wherever the message is": (
        ["Person.code"],
        {"person": person(ANN, BEN), "by_name": {"x": person(CAT)}},
        [ANN, BEN, CAT],
    ),
    "a map's values, by their field": (
        ["Answer.by_name.code"],
        {"by_name": {"x": person(CAT)}},
        [CAT],
    ),
    "the same, spelled out": (
        ["Answer.by_name.value.code"],
        {"by_name": {"x": person(CAT)}},
        [CAT],
    ),
    "a map's text": (["Answer.names"], {"names": {"x": CAT}}, [CAT]),
    "a map's text, spelled out": (["Answer.names.value"], {"names": {"x": CAT}}, [CAT]),
    "a map's keys": (["Answer.names.key"], {"names": {ANN: "x"}}, [ANN]),
    "keys of a map of messages": (
        ["Answer.by_name.key"],
        {"by_name": {ANN: person(CAT)}},
        [ANN],
    ),
    "several selectors": (
        ["Answer.code", "Person.code"],
        {"code": ANN, "persons": [person(BEN), person(ANN)]},
        [ANN, BEN],
    ),
    "national code": (["Answer.code"], {"code": "39901012239"}, [ANN]),
    "nobody": (["Answer.code"], {"code": ""}, []),
    "nothing set": (["Person.code"], {}, []),
}


@pytest.mark.parametrize("what", FOUND)
def test_persons_are_found_where_the_selectors_say(what):
    selectors, fields, persons = FOUND[what]
    description = described(response=selectors)
    found = description.response_subjects(GET, message("Answer", **fields))
    assert list(found) == persons


@given(st.lists(st.sampled_from([ANN, BEN, CAT]), max_size=6))
def test_each_person_is_found_once_however_deep(codes):
    nested = None
    for code in reversed(codes):
        nested = {"code": code, "parents": [nested] if nested else []}
    body = message("Answer", persons=[nested] if nested else [])
    found = described().response_subjects(GET, body)
    assert list(found) == list(dict.fromkeys(codes))


def test_persons_of_a_request_are_found():
    description = described(request=["GetRequest.code", "GetRequest.also"])
    body = message("GetRequest", code=ANN, also=[BEN, ANN])
    assert description.request_subjects(GET, body) == (ANN, BEN)
    assert description.method(GET).identifying
    assert description.request_subjects(LIST, message("ListRequest")) == ()
    assert not description.method(LIST).identifying


@pytest.mark.parametrize("body", [b"\xff", b"\x0a\x05x", b"\x12\x01\xff"])
def test_bytes_that_are_no_such_message_are_refused(body):
    with pytest.raises(MessageInvalid, match=r"not a persons\.v1\.Answer"):
        described().response_subjects(GET, body)
    with pytest.raises(MessageInvalid):
        described(request=(), response=()).response_subjects(GET, body)


@pytest.mark.parametrize("code", ["Ann", "PNOEE", "pnoee-1", "39901012239 "])
def test_what_is_no_person_is_refused_and_not_repeated(code):
    with pytest.raises(MessageInvalid, match="something else") as refused:
        described().response_subjects(GET, message("Answer", person=person(code)))
    assert "Ann" not in refused.value.detail


def test_a_national_code_needs_a_country():
    body = message("Answer", person=person("39901012239"))
    with pytest.raises(MessageInvalid):
        described(country=None).response_subjects(GET, body)
    named = {"EE": "EE", "EE-SANDBOX": "EE", "DEV": None, "sandbox": None}
    assert {instance: country_of(instance) for instance in named} == named


def test_text_that_is_not_utf_8_is_refused():
    text = text_format.Parse(
        """name: "old.proto" package: "old"
        message_type { name: "Q" field { name: "c" number: 1 type: TYPE_STRING } }
        service { name: "S"
                  method { name: "M" input_type: ".old.Q" output_type: ".old.Q" } }""",
        FileDescriptorProto(),
    )
    description = ServiceDescription(
        file_set(text), ["old.S"], request_subjects=["Q.c"]
    )
    with pytest.raises(MessageInvalid):
        description.request_subjects("old.S/M", b"\x0a\x01\xff")


DECLARED = [
    ([ANN], [ANN], True),
    ([ANN, BEN], [BEN, ANN], True),
    ([], [], True),
    ([], [ANN], False),
]
MISMATCHED = [
    ([ANN], [], True),
    ([ANN], [BEN], True),
    ([ANN, BEN], [ANN], True),
    ([ANN], [ANN, BEN], True),
    ([], [ANN], True),
]


@pytest.mark.parametrize(("found", "declared", "identifying"), DECLARED)
def test_persons_that_were_declared_are_those_found(found, declared, identifying):
    require_declared(found, declared, identifying=identifying)


@pytest.mark.parametrize(("found", "declared", "identifying"), MISMATCHED)
def test_other_persons_than_declared_are_a_mismatch_that_names_none(
    found, declared, identifying
):
    with pytest.raises(SubjectMismatch) as refused:
        require_declared(found, declared, identifying=identifying)
    assert "PNO" not in refused.value.detail


def registrations(*rights, plaintext=True):
    return Registrations.of([LocalClient(TAX, plaintext)], [register()], rights)


def test_a_right_is_to_a_service_or_to_one_of_its_methods():
    every = registrations(AccessRight(PERSONS, TAX))
    every.require_right(TAX, PERSONS, GET)
    every.require_right(TAX, PERSONS, LIST)
    one = registrations(AccessRight(PERSONS, TAX, GET))
    one.require_right(TAX, PERSONS, GET)
    with pytest.raises(AccessDenied, match="ask its provider"):
        one.require_right(TAX, PERSONS, LIST)


@pytest.mark.parametrize(
    "rights",
    [
        [],
        [AccessRight(PERSONS, POPULATION)],
        [AccessRight(ServiceId(POPULATION, "persons", "v2"), TAX)],
    ],
)
def test_without_a_right_everything_is_denied(rights):
    with pytest.raises(AccessDenied):
        registrations(*rights).require_right(TAX, PERSONS, GET)


def test_who_and_what_is_not_registered_is_unknown():
    registered = registrations()
    assert registered.service(PERSONS).id == PERSONS
    with pytest.raises(ServiceUnknown):
        registered.service(ServiceId(POPULATION, "persons", "v2"))
    registered.require_client(TAX, plaintext=True)
    with pytest.raises(ClientUnknown):
        registered.require_client(POPULATION, plaintext=False)


def test_plaintext_is_for_those_it_was_allowed():
    careful = registrations(plaintext=False)
    careful.require_client(TAX, plaintext=False)
    with pytest.raises(ClientUnknown, match="TLS"):
        careful.require_client(TAX, plaintext=True)


def test_rights_are_ordered_for_lists():
    rights = sorted([AccessRight(PERSONS, TAX, GET), AccessRight(PERSONS, TAX)])
    assert all(first < second for first, second in pairwise(rights))
