"""The demo's first chapters: who belongs, who may ask, and one question asked."""

import json

from cli.commands.requests import request_document
from cli.configuration import current_configuration
from cli.connection import REGISTRY, ask, registry
from cli.demo.stage import Stage
from cli.failures import Refused
from messaging.wire.identifiers import member_from_pb, member_to_pb, subsystem_from_pb
from protos.v1.administration_pb2 import AccessRight
from protos.v1.registry_pb2 import (
    REGISTRATION_STATE_APPROVED,
    ApproveRequestRequest,
    ListMembersRequest,
    ListRequestsRequest,
    RegisterMemberRequest,
)
from protos.v1.registry_pb2_grpc import RegistryServiceStub
from vocabulary.clock import utc_now
from vocabulary.identifiers import MemberId

NEWCOMER_CODE = "70003098"
NEWCOMER_NAME = "Maa- ja Ruumiamet"
ALREADY = "ALREADY_REGISTERED"


def members(stage: Stage) -> None:
    """Members are registered and approved; a fourth one joins."""
    tell = stage.narration
    tell.begin("Members are registered and approved")
    with registry(stage.parts.directory) as stub:
        listed = ask(stub.ListMembers, ListMembersRequest(), of=REGISTRY).members
        everything = ListRequestsRequest(all=True)
        asked = ask(stub.ListRequests, everything, of=REGISTRY).requests
        tell.rows(
            ["Member", "Name", "Subsystems"],
            [
                (
                    str(member_from_pb(member.id)),
                    member.name,
                    ", ".join(pb.subsystem_code for pb in member.subsystems),
                )
                for member in listed
            ],
        )
        approved = {
            request.subject
            for request in asked
            if request.state == REGISTRATION_STATE_APPROVED
        }
        tell.claim(
            f"{len(listed)} members belong, each by a request that was approved",
            len(listed) >= len(stage.parts.servers)
            and {str(member_from_pb(member.id)) for member in listed} <= approved,
        )
        newcomer = MemberId(stage.example.client.member.instance, "GOV", NEWCOMER_CODE)
        _join(stage, stub, newcomer)
    configuration = current_configuration(stage.parts, now=utc_now())
    tell.claim(
        f"global configuration {configuration.version}, signed by the registry and"
        f" verified here with its anchor, has {newcomer}",
        newcomer in configuration.members,
    )


def _join(stage: Stage, stub: RegistryServiceStub, newcomer: MemberId) -> None:
    tell = stage.narration
    tell.say(f"\nA new member asks to join: {newcomer}, {NEWCOMER_NAME}.")
    tell.command(f"member register {newcomer} --name '{NEWCOMER_NAME}'")
    request = RegisterMemberRequest(id=member_to_pb(newcomer), name=NEWCOMER_NAME)
    try:
        asked = ask(stub.RegisterMember, request, of=REGISTRY).request
    except Refused as refused:
        if refused.code != ALREADY:
            raise
        tell.say("An earlier demo on this instance has registered it.")
        return
    waiting = ask(stub.ListMembers, ListMembersRequest(), of=REGISTRY).members
    tell.claim(
        f"request {asked.number} waits; who has only asked does not belong yet",
        newcomer not in {member_from_pb(member.id) for member in waiting},
    )
    tell.command(f"requests approve {asked.number}")
    approval = ApproveRequestRequest(number=asked.number)
    answer = ask(stub.ApproveRequest, approval, of=REGISTRY)
    tell.claim(
        f"approved, in force with global configuration {answer.configuration_version}",
        request_document(answer.request)["state"] == "approved",
    )


def right(stage: Stage) -> None:
    """Deny by default; the provider grants one method to one client."""
    tell, example = stage.narration, stage.example
    tell.begin("A right is granted")
    tell.say(
        f"Nobody may call anything until its provider says so. {example.client} gets"
        f" one method of {example.service}, no more."
    )
    tell.command(f"access revoke {example.service} {example.client}")
    stage.revoke_all()
    short = example.method.rpartition("/")[2]
    tell.command(f"access grant {example.service} {example.client} --method {short}")
    stage.grant(example.method)
    granted = stage.rights()
    tell.rows(["Client", "Method"], [_right_row(one) for one in granted])
    tell.claim(
        f"{example.client} may call {example.method} and nothing else of the service",
        [one.method for one in granted] == [example.method],
    )


def question(stage: Stage) -> None:
    """The tax board asks for a person, and gets the person."""
    tell, example = stage.narration, stage.example
    tell.begin("The tax board asks for a person")
    tell.command(
        f"call --client {example.client} --service {example.service}"
        f" --subject {example.subject} --purpose {example.purpose}"
        f" --legal-basis {example.legal_basis} {example.method} '{example.json}'"
    )
    # A right takes effect within two seconds.
    outcome = stage.until(
        f"{example.client} gets an answer with the right that it was granted",
        lambda: answered if (answered := stage.call()).status == "OK" else None,
    )
    response = json.dumps(outcome.response, ensure_ascii=False, indent=2)
    tell.show("The answer", response)
    tell.claim("the answer is about the person asked for", example.subject in response)
    tell.claim(
        f"it came as message {outcome.message_id}, entry {outcome.entry} of the tax"
        " board's ledger",
        outcome.message_id is not None and outcome.entry is not None,
    )
    stage.message_id = outcome.message_id or ""


def _right_row(right: AccessRight) -> tuple[str, str]:
    return str(subsystem_from_pb(right.client)), right.method or "all"
