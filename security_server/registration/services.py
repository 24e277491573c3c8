"""What a service was registered with, and what may be asked of it. Pure.

A service is registered from descriptors: a right to it reaches the gRPC services that
its registration names and nothing else that listens at the same address.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Final

from google.protobuf.descriptor import (
    Descriptor,
    FileDescriptor,
    MethodDescriptor,
    ServiceDescriptor,
)
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

from security_server.registration.subjects import (
    Subjects,
    country_of,
    parse_selector,
    require_declared,
)
from trust.registration import parse_address
from vocabulary.faults import (
    MethodUnknown,
    RegistrationInvalid,
    StreamingNotOffered,
)
from vocabulary.identifiers import ServiceId

__all__ = [
    "ABOUT_ITSELF",
    "DESCRIBE",
    "Method",
    "RegisteredService",
    "ServiceDescription",
    "offered_services",
    "registered_service",
    "require_declared",
]

# How a peer's server asks what a service offers; every registered service answers it.
DESCRIBE: Final = "ristmik.v1.DescriptionService/Describe"

DESCRIPTORS_LIMIT: Final = 4 << 20

# What a gRPC server says about itself; nobody's register.
ABOUT_ITSELF: Final = frozenset(
    {
        "grpc.channelz.v1.Channelz",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }
)
_OURS: Final = "ristmik.v1."


@dataclass(frozen=True, slots=True)
class Method:
    """One method of a service; names are full, without a leading slash."""

    full_name: str
    client_streaming: bool
    server_streaming: bool
    input_type: str
    output_type: str
    # The registration selects fields of its request that identify persons.
    identifying: bool


class ServiceDescription:
    """The methods of one service, and where their messages name persons."""

    def __init__(
        self,
        descriptors: bytes,
        grpc_services: Sequence[str],
        *,
        request_subjects: Sequence[str] = (),
        response_subjects: Sequence[str] = (),
        country: str | None = None,
    ) -> None:
        """Raise RegistrationInvalid if these do not fit together."""
        self.descriptors = descriptors
        self.grpc_services = tuple(grpc_services)
        self.request_selectors = tuple(request_subjects)
        self.response_selectors = tuple(response_subjects)
        self.pool, files = _build(descriptors)
        methods = [
            (f"{name}/{method.name}", method)
            for name in self.grpc_services
            for method in _service(self.pool, name).methods
        ]
        messages = {
            message.full_name: message
            for file in files
            for message in _messages(file.message_types_by_name.values())
        }
        self._found_in_request, self._found_in_response = (
            Subjects(
                [parse_selector(text, messages) for text in selectors], country=country
            )
            for selectors in (self.request_selectors, self.response_selectors)
        )
        self._types = {
            name: (method.input_type, method.output_type) for name, method in methods
        }
        self.methods = {name: self._method(name, method) for name, method in methods}

    def method(self, name: str) -> Method:
        """Raise MethodUnknown for a method that was not registered."""
        try:
            return self.methods[name]
        except KeyError:
            raise MethodUnknown(
                f"{name[:200]!r} is not a method of this service; it has "
                f"{', '.join(self.methods) or 'none'}"
            ) from None

    def unary_method(self, name: str) -> Method:
        """Raise MethodUnknown, or StreamingNotOffered for one with a stream."""
        method = self.method(name)
        if method.client_streaming or method.server_streaming:
            raise StreamingNotOffered(
                f"{name} has a stream, and only unary methods are carried: call one of "
                "those"
            )
        return method

    def request_subjects(self, method: str, body: bytes) -> tuple[str, ...]:
        """Name each person in a request once; MessageInvalid, MethodUnknown."""
        name = self.method(method).full_name
        return self._found_in_request.find(self._types[name][0], body)

    def response_subjects(self, method: str, body: bytes) -> tuple[str, ...]:
        """Name each person in a response once; MessageInvalid, MethodUnknown."""
        name = self.method(method).full_name
        return self._found_in_response.find(self._types[name][1], body)

    def require_identifying(self) -> None:
        """Raise RegistrationInvalid unless requests and responses name persons.

        What a personal service has to say of itself: every selector leads somewhere,
        and there is one in each direction.
        """
        self._require_selectors("request", self.request_selectors)
        self._require_selectors("response", self.response_selectors)

    def _require_selectors(self, direction: str, selectors: Sequence[str]) -> None:
        if not selectors:
            raise RegistrationInvalid(
                "a personal service says which fields of its requests and responses "
                f"identify persons: name at least one {direction} subject field"
            )
        number = 0 if direction == "request" else 1
        subjects = (self._found_in_request, self._found_in_response)[number]
        held = {
            name
            for types in self._types.values()
            for name in subjects.may_be_in(types[number])
        }
        for selector in subjects.selectors:
            if selector.message not in held:
                raise RegistrationInvalid(
                    f"no {direction} of this service holds {selector.text!r}: name a "
                    f"field of what its methods {_TAKES[direction]}"
                )

    def _method(self, name: str, method: MethodDescriptor) -> Method:
        return Method(
            name,
            method.client_streaming,
            method.server_streaming,
            method.input_type.full_name,
            method.output_type.full_name,
            identifying=bool(self._found_in_request.may_be_in(method.input_type)),
        )


_TAKES: Final = {"request": "take", "response": "give"}


@dataclass(frozen=True, slots=True)
class RegisteredService:
    id: ServiceId
    # host:port of the member's own gRPC system.
    address: str
    description: ServiceDescription
    personal: bool


def registered_service(
    service: ServiceId,
    address: str,
    descriptors: bytes,
    *,
    grpc_services: Sequence[str] | None = None,
    personal: bool = False,
    request_subjects: Sequence[str] = (),
    response_subjects: Sequence[str] = (),
) -> RegisteredService:
    """Read a registration; RegistrationInvalid with its cure if it cannot stand.

    Without `grpc_services` it is for all that the descriptors have.
    """
    try:
        parse_address(address)
    except ValueError as error:
        raise RegistrationInvalid(
            f"{error}; give the address of the system that answers"
        ) from error
    if not personal and (request_subjects or response_subjects):
        raise RegistrationInvalid(
            "only a personal service has subject fields: register it as personal, or "
            "leave them out"
        )
    description = ServiceDescription(
        descriptors,
        offered_services(descriptors, grpc_services),
        request_subjects=request_subjects,
        response_subjects=response_subjects,
        country=country_of(service.provider.member.instance),
    )
    if personal:
        description.require_identifying()
    return RegisteredService(service, address, description, personal)


def offered_services(
    descriptors: bytes, among: Sequence[str] | None = None
) -> tuple[str, ...]:
    """Name the gRPC services of a descriptor set, but for health and reflection."""
    _, files = _build(descriptors)
    names = sorted(
        service.full_name
        for file in files
        for service in file.services_by_name.values()
        if service.full_name not in ABOUT_ITSELF
        and (among is None or service.full_name in among)
    )
    if not names:
        raise RegistrationInvalid(
            "the descriptors have no gRPC service: give those of the system's own"
        )
    if any(name.startswith(_OURS) for name in names):
        raise RegistrationInvalid(
            f"names that start with {_OURS!r} are the bus's own: leave them out"
        )
    return tuple(names)


def _build(descriptors: bytes) -> tuple[DescriptorPool, list[FileDescriptor]]:
    """Build what is described, apart from everything else in this Python."""
    if len(descriptors) > DESCRIPTORS_LIMIT:
        raise RegistrationInvalid(
            f"descriptors of {len(descriptors)} octets, and {DESCRIPTORS_LIMIT} is the "
            "limit: leave out source information"
        )
    try:
        files = {
            file.name: file for file in FileDescriptorSet.FromString(descriptors).file
        }
    except DecodeError as error:
        raise RegistrationInvalid(
            "not a serialised FileDescriptorSet: make one with buf build or protoc"
        ) from error
    pool = DescriptorPool()
    try:
        built = [
            pool.AddSerializedFile(file.SerializeToString()) for file in _ordered(files)
        ]
    except (TypeError, CycleError) as error:
        raise RegistrationInvalid(
            f"the descriptors contradict themselves: {error}"
        ) from error
    return pool, built


def _ordered(files: Mapping[str, FileDescriptorProto]) -> Iterator[FileDescriptorProto]:
    """Give each file after those that it imports."""
    imports = {name: file.dependency for name, file in files.items()}
    for name in TopologicalSorter(imports).static_order():
        if name not in files:
            raise RegistrationInvalid(
                f"the descriptors import {name!r} and do not have it: make them with "
                "buf build, or with protoc --include_imports"
            )
        yield files[name]


def _service(pool: DescriptorPool, name: str) -> ServiceDescriptor:
    try:
        return pool.FindServiceByName(name)
    except KeyError:
        raise RegistrationInvalid(
            f"the descriptors have no service {name[:200]!r}: name one of theirs"
        ) from None


def _messages(messages: Iterable[Descriptor]) -> Iterator[Descriptor]:
    for message in messages:
        if not message.GetOptions().map_entry:
            yield message
            yield from _messages(message.nested_types)
