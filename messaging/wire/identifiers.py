"""Identifiers on the wire. Reading one that is malformed is a ValueError."""

from protos.v1 import identifier_pb2
from vocabulary.identifiers import MemberId, SecurityServerId, ServiceId, SubsystemId


def member_to_pb(member: MemberId) -> identifier_pb2.MemberId:
    return identifier_pb2.MemberId(
        instance=member.instance,
        member_class=member.member_class,
        member_code=member.member_code,
    )


def member_from_pb(pb: identifier_pb2.MemberId) -> MemberId:
    return MemberId.parse(f"{pb.instance}/{pb.member_class}/{pb.member_code}")


def subsystem_to_pb(subsystem: SubsystemId) -> identifier_pb2.SubsystemId:
    return identifier_pb2.SubsystemId(
        member=member_to_pb(subsystem.member), subsystem_code=subsystem.code
    )


def subsystem_from_pb(pb: identifier_pb2.SubsystemId) -> SubsystemId:
    return SubsystemId.parse(f"{member_from_pb(pb.member)}/{pb.subsystem_code}")


def service_to_pb(service: ServiceId) -> identifier_pb2.ServiceId:
    return identifier_pb2.ServiceId(
        provider=subsystem_to_pb(service.provider),
        service_code=service.code,
        service_version=service.version,
    )


def service_from_pb(pb: identifier_pb2.ServiceId) -> ServiceId:
    provider = subsystem_from_pb(pb.provider)
    return ServiceId.parse(f"{provider}/{pb.service_code}/{pb.service_version}")


def server_to_pb(server: SecurityServerId) -> identifier_pb2.SecurityServerId:
    return identifier_pb2.SecurityServerId(
        owner=member_to_pb(server.owner), server_code=server.code
    )


def server_from_pb(pb: identifier_pb2.SecurityServerId) -> SecurityServerId:
    return SecurityServerId.parse(f"{member_from_pb(pb.owner)}/{pb.server_code}")
