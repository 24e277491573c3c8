"""What a service offers, asked of it by gRPC reflection, and its messages as JSON."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Self

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from grpc_reflection.v1alpha.reflection_pb2 import (
    ServerReflectionRequest,
    ServerReflectionResponse,
)
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

from cli.failures import Misused, Refused

Metadata = Sequence[tuple[str, str]]

# What every gRPC server may offer beside its services.
_COMPANIONS = ("grpc.reflection.", "grpc.health.")


@dataclass(frozen=True, slots=True)
class Description:
    """The gRPC services behind one service of the bus."""

    pool: DescriptorPool
    services: tuple[str, ...]
    methods: Mapping[str, MethodDescriptor]

    @classmethod
    def ask(cls, channel: grpc.Channel, metadata: Metadata, *, timeout: float) -> Self:
        """Ask by reflection; a refusal is the grpc.RpcError of the stream."""
        questions = _Questions(channel, metadata, timeout)
        try:
            names = tuple(
                name
                for name in questions.services()
                if not name.startswith(_COMPANIONS)
            )
            pool = _pool(questions.files_of(names))
        finally:
            questions.end()
        methods = {
            f"{name}/{method.name}": method
            for name in names
            for method in pool.FindServiceByName(name).methods
        }
        return cls(pool, names, methods)

    def find(self, name: str) -> str:
        """Give a method's full name; one that is not described is not judged here."""
        name = name.removeprefix("/")
        if "/" in name:
            return name
        found = [full for full in self.methods if full.endswith(f"/{name}")]
        if len(found) > 1:
            raise Misused(f"{name} is a method of several: name one of {found} in full")
        return found[0] if found else "/".join((*self.services[:1], name))

    def encode(self, method: str, text: str) -> bytes:
        """Turn JSON into the request of a method, or say which field is wrong."""
        request = _new(self.methods[method].input_type)
        try:
            if not isinstance(json.loads(text), dict):
                raise Misused("the request is not a JSON object: write it as '{…}'")
            json_format.Parse(text, request, descriptor_pool=self.pool)
        except (json_format.ParseError, ValueError, RecursionError) as error:
            raise Misused(_said(error, request)) from error
        return request.SerializeToString()

    def decode(self, method: str, octets: bytes) -> Mapping[str, Any]:
        response = _new(self.methods[method].output_type)
        try:
            response.ParseFromString(octets)
            decoded: dict[str, Any] = json_format.MessageToDict(
                response,
                preserving_proto_field_name=True,
                descriptor_pool=self.pool,
            )
        except (DecodeError, json_format.Error, TypeError) as error:
            raise Refused(
                "MESSAGE_INVALID",
                f"the answer of {method} is not what the service's descriptors say:"
                " have its provider register the service anew",
            ) from error
        return decoded


class _Questions:
    """One reflection stream, on which questions are answered in their order."""

    def __init__(
        self, channel: grpc.Channel, metadata: Metadata, timeout: float
    ) -> None:
        self._asked: SimpleQueue[ServerReflectionRequest | None] = SimpleQueue()
        stub = ServerReflectionStub(channel)
        self._answers: Iterator[ServerReflectionResponse] = stub.ServerReflectionInfo(
            iter(self._asked.get, None), metadata=metadata, timeout=timeout
        )

    def services(self) -> list[str]:
        answer = self._ask(ServerReflectionRequest(list_services="*"))
        return [service.name for service in answer.list_services_response.service]

    def files_of(self, services: Sequence[str]) -> dict[str, FileDescriptorProto]:
        """Give the files that declare the services, and all that those import."""
        files: dict[str, FileDescriptorProto] = {}
        for name in services:
            question = ServerReflectionRequest(file_containing_symbol=name)
            files |= self._files(question)
        while missing := _missing(files):
            answered = self._files(ServerReflectionRequest(file_by_filename=missing))
            files |= answered if missing in answered else {missing: _built_in(missing)}
        return files

    def end(self) -> None:
        self._asked.put(None)

    def _files(
        self, question: ServerReflectionRequest
    ) -> dict[str, FileDescriptorProto]:
        answer = self._ask(question).file_descriptor_response.file_descriptor_proto
        files = map(FileDescriptorProto.FromString, answer)
        return {file.name: file for file in files}

    def _ask(self, question: ServerReflectionRequest) -> ServerReflectionResponse:
        self._asked.put(question)
        answer = next(self._answers, None)
        if answer is None or answer.HasField("error_response"):
            why = answer.error_response.error_message if answer else "no answer"
            raise Refused(
                "REGISTRATION_INVALID",
                f"the service does not describe itself ({why}): have its provider"
                " register it anew",
            )
        return answer


def _missing(files: Mapping[str, FileDescriptorProto]) -> str | None:
    imported = (name for file in files.values() for name in file.dependency)
    return next((name for name in imported if name not in files), None)


def _built_in(name: str) -> FileDescriptorProto:
    """Give one of protobuf's own files, which servers need not describe."""
    file = FileDescriptorProto()
    try:
        descriptor_pool.Default().FindFileByName(name).CopyToProto(file)
    except KeyError as error:
        raise Refused(
            "REGISTRATION_INVALID",
            f"the descriptors of the service import {name} but do not hold it: have its"
            " provider register the service anew",
        ) from error
    return file


def _pool(files: Mapping[str, FileDescriptorProto]) -> DescriptorPool:
    pool = DescriptorPool()
    added: set[str] = set()

    def add(name: str) -> None:
        if name not in added:
            added.add(name)
            for imported in files[name].dependency:
                add(imported)
            pool.Add(files[name])

    for name in files:
        add(name)
    return pool


def _new(descriptor: Descriptor) -> Message:
    return message_factory.GetMessageClass(descriptor)()


def _said(error: Exception, request: Message) -> str:
    reason = " ".join(str(error).split())
    return f"the JSON is no {request.DESCRIPTOR.full_name}: {reason}"
