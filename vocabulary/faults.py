"""Everything that can go wrong, named once and numbered in protos/v1/fault.proto."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import ClassVar

from vocabulary.identifiers import SecurityServerId
from vocabulary.imprint import Imprint


class Execution(StrEnum):
    """What is known of the provider's system when a call fails."""

    NOT_EXECUTED = "NOT_EXECUTED"
    EXECUTED = "EXECUTED"
    UNKNOWN = "UNKNOWN"


class Fault(Exception):
    """Base of every failure that may cross the wire.

    Execution is unknown until a step that knows better says so: a caller who is told
    "not executed" by mistake repeats what was done. Origin is None while the fault
    has not left the server that raised it.
    """

    code: ClassVar[str]

    def __init_subclass__(cls) -> None:
        # SignatureInvalid is SIGNATURE_INVALID: class and number cannot disagree.
        cls.code = re.sub("(?<!^)(?=[A-Z])", "_", cls.__name__).upper()

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail
        self.execution = Execution.UNKNOWN
        self.origin: SecurityServerId | None = None
        self.refused: Imprint | None = None
        # A peer has signed it, and the ledger of who it was said to holds that.
        self.recorded = False
        # That signed part, serialised, for whoever wants to show it to others.
        self.proof = b""


@contextmanager
def before_execution() -> Iterator[None]:
    """Mark the faults of a step that comes before the provider's system is called."""
    try:
        yield
    except Fault as fault:
        fault.execution = Execution.NOT_EXECUTED
        raise


@contextmanager
def after_execution() -> Iterator[None]:
    """Mark the faults of a step that comes after the provider's system answered."""
    try:
        yield
    except Fault as fault:
        fault.execution = Execution.EXECUTED
        raise


@contextmanager
def concerning(part: Imprint) -> Iterator[None]:
    """Mark the faults of a step with the part that they concern, unless they are."""
    try:
        yield
    except Fault as fault:
        fault.refused = fault.refused or part
        raise


# Frames, parts and what they carry.


class FrameUnexpected(Fault):
    """A frame that has no place here, such as a part before Hello."""


class PartUnexpected(Fault):
    """A part of another type than this step takes, such as a CLOSE for an OPEN."""


class HeadInvalid(Fault):
    """A head that was signed but does not say what its type demands."""


class FieldsInvalid(Fault):
    """Fields that are not those the signed head commits to, or out of order."""


class MetadataInvalid(Fault):
    """A caller's metadata that is missing, malformed or repeated."""


class MessageInvalid(Fault):
    """A message that is not what the service's descriptor says."""


class LimitExceeded(Fault):
    """More than a limit allows; the detail names the limit."""


class ReferenceUnknown(Fault):
    """An imprint of a certificate or OCSP response that was never sent here."""


# Who speaks, and whether to believe it.


class CertificateUnknown(Fault):
    """A certificate that no member or security server has registered."""


class CertificateInvalid(Fault):
    """A certificate that no approved CA vouches for, or not for this use or time."""


class CertificateRevoked(Fault):
    """A certificate that its CA has revoked."""


class CertificateStatusUnknown(Fault):
    """No OCSP response that is fresh enough says that a certificate is good."""


class SignatureInvalid(Fault):
    """A part that is not in the batch its certificate's key has signed."""


class SignerMismatch(Fault):
    """A part signed by another member than the one it speaks for."""


class PeerMismatch(Fault):
    """A part handed over by, or to, another security server than it names."""


class NotRegistered(Fault):
    """A subsystem that is not registered on the security server it came from."""


class OutsideAcceptanceWindow(Fault):
    """A part issued too long ago, or in the future."""


class Replayed(Fault):
    """A part that was received before; what became of it then is not said."""


class ResponseInconsistent(Fault):
    """An answer to another request than the one that was sent."""


class ConfigurationExpired(Fault):
    """The newest global configuration that is held is past its end."""


class ConfigurationRolledBack(Fault):
    """An older global configuration than the one held, or another of its number."""


class ConfigurationInvalid(Fault):
    """A global configuration that its anchor's key has not signed, or that is torn."""


class TimeStampInvalid(Fault):
    """A time-stamp token that no approved TSA has made for this imprint."""


class TimeStampingFailed(Fault):
    """No time-stamp for longer than the grace allows."""


# Who may ask for what.


class ClientUnknown(Fault):
    """A caller whose subsystem this security server does not serve."""


class MemberUnknown(Fault):
    """A member or subsystem that is not in the global configuration."""


class ServiceUnknown(Fault):
    """A service that its provider has not registered."""


class MethodUnknown(Fault):
    """A method that is not in the service's registration."""


class StreamingNotOffered(Fault):
    """A streaming method, where only unary ones are carried."""


class AccessDenied(Fault):
    """A client without the right it needs."""


class PurposeMissing(Fault):
    """No purpose on a personal service."""


class PurposeUnknown(Fault):
    """A purpose that is not in the instance's list."""


class LegalBasisMissing(Fault):
    """No legal basis on a personal service."""


class LegalBasisUnknown(Fault):
    """A legal basis that is not in the instance's list."""


class SubjectMissing(Fault):
    """No subject on a personal service."""


class SubjectMismatch(Fault):
    """Other persons in the request than the caller declared."""

    def __init__(self, detail: str, found: tuple[str, ...] = ()) -> None:
        """Keep the persons `found`: the refusal is recorded under them too."""
        super().__init__(detail)
        self.found = found


# What could not be done.


class PeerUnreachable(Fault):
    """A security server that did not answer."""


class SystemUnreachable(Fault):
    """A provider's information system that could not be called."""


class DeadlineExceeded(Fault):
    """No answer within the time the caller gave."""


class Cancelled(Fault):
    """The caller no longer waits."""


class LedgerUnavailable(Fault):
    """The ledger cannot commit, so nothing is released."""


class Internal(Fault):
    """A defect of ours; the detail is a reference number into the server's log."""


# Administration.


class RegistrationInvalid(Fault):
    """Something to be registered that contradicts itself or what is registered."""


class AlreadyRegistered(Fault):
    """Something to be registered that is."""


class RequestUnknown(Fault):
    """A registration request that does not exist or was decided before."""


class RightUnknown(Fault):
    """An access right to be revoked that was not granted."""


class EntryUnknown(Fault):
    """A ledger entry that does not exist, or holds nothing of the kind asked for."""
