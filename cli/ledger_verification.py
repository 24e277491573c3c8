"""Verifying a server's ledger from outside it, whether the server runs or not.

The database is read as the reader role. Whom to believe is read elsewhere: the global
configuration that the servers keep on disk, authenticated by the instance's anchor.
"""

from pathlib import Path

from cli.configuration import kept_configuration
from cli.failures import Misused
from cli.parts import Parts, ServerPart
from ledger.checkpoint import (
    Checkpoint,
    CheckpointInvalid,
    VerifierKey,
    verify_checkpoint,
)
from ledger.subject_keys import SubjectKeys
from ledger.verification import Progress, Trust, Verification
from ledger.verification import verify_ledger as verify
from messaging.heads import EvidenceVerifier, HeadReader


def verify_ledger(
    parts: Parts,
    server: ServerPart,
    *,
    against: Path | None = None,
    progress: Progress | None = None,
) -> Verification:
    """Verify all of it, and that it continues the checkpoint in `against`."""
    configuration = kept_configuration(parts)
    keys = configuration.server(server.id).checkpoint_keys
    trust = Trust(
        tuple(map(VerifierKey.parse, keys)),
        tuple(one.certificate for one in configuration.time_stamping_authorities),
        EvidenceVerifier(),
    )
    return verify(
        server.reader_dsn,
        trust=trust,
        heads=HeadReader(),
        subject_keys=SubjectKeys(server.subject_keys),
        held=_checkpoint_in(against, trust) if against else None,
        progress=progress,
    )


def _checkpoint_in(path: Path, trust: Trust) -> Checkpoint:
    try:
        return verify_checkpoint(path.read_bytes(), trust.log_keys)
    except OSError as error:
        raise Misused(f"{path} cannot be read: {error.strerror}") from error
    except CheckpointInvalid as error:
        raise Misused(
            f"{path} is no checkpoint of this server's ledger ({error}): give a file"
            " that `ristmik ledger checkpoint` has written for it"
        ) from error
