"""`ristmik doctor`: what is wrong with an instance, and the command that mends it."""

import asyncio
from collections.abc import Sequence
from itertools import chain

import typer
from rich.console import Group
from rich.text import Text

from cli.connection import find
from cli.doctor.finding import Finding
from cli.failures import NOT_SO, OutOfReach
from cli.options import DEFAULT_DIRECTORY, AsJson, Directory
from cli.output import Output
from cli.parts import Parts
from vocabulary.clock import utc_now


def doctor(
    *, directory: Directory = DEFAULT_DIRECTORY, as_json: AsJson = False
) -> None:
    """Look at every part of the instance, say what is wrong and how to mend it."""
    output = Output(as_json=as_json)
    findings = asyncio.run(_look(find(directory), output))
    wrong = [finding for finding in findings if not finding.ok]
    output.result(
        {
            "ok": not wrong,
            "findings": [
                {
                    "name": finding.name,
                    "ok": finding.ok,
                    "detail": finding.detail,
                    "cure": finding.cure or None,
                }
                for finding in findings
            ],
        },
        Group(*chain.from_iterable(map(_lines, findings)), _summary(findings)),
    )
    if wrong:
        raise typer.Exit(NOT_SO)


async def _look(parts: Parts, output: Output) -> list[Finding]:
    """Raise OutOfReach if nothing of the instance answers."""
    # What asks PostgreSQL, OCSP and TSA takes longer to import than all else together.
    from cli.doctor.diagnosis import Diagnosis  # noqa: PLC0415 - see above
    from cli.doctor.trust import TrustDiagnosis  # noqa: PLC0415 - see above

    diagnosis = Diagnosis(parts)
    with output.notes.status("looking at every part"):
        findings = await diagnosis.alive()
        if not any(finding.ok for finding in findings):
            raise OutOfReach(
                f"nothing of the instance in {parts.directory} answers: start it with"
                f" `ristmik up --dir {parts.directory}`"
            )
        findings += [finding async for finding in diagnosis.findings()]
        trusted = TrustDiagnosis(parts, now=utc_now())
        findings += [finding async for finding in trusted.findings()]
    return findings


def _lines(finding: Finding) -> list[Text]:
    mark = Text("ok     ", style="green") if finding.ok else Text("WRONG  ", "bold red")
    lines = [mark + Text(f"{finding.name}: {finding.detail}")]
    if finding.cure:
        lines.append(Text(f"       mend it with: {finding.cure}", style="bold"))
    return lines


def _summary(findings: Sequence[Finding]) -> Text:
    wrong = sum(not finding.ok for finding in findings)
    said = f"{wrong} wrong" if wrong else "all well"
    return Text(f"{len(findings)} things looked at, {said}")
