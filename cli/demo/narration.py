"""How the demo tells its story: chapters, what is shown, and claims that must hold."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console, RenderableType
from rich.panel import Panel
from rich.text import Text

from cli.failures import NOT_SO, CommandFailure
from cli.output import Document, table

PICTURE = """\
   tax board                                              population register
┌─────────────┐  ┌─────────────────┐      ┌──────────────────┐  ┌────────────┐
│ its program ├─▶│ security server ╞═════▶│ security server  ├─▶│ its own    │
│ (any gRPC)  │◀─┤ signs, records  │ mTLS │ verifies, records│◀─┤ register   │
└─────────────┘  └────────┬────────┘      └────────┬─────────┘  └────────────┘
                      ┌───┴────┐               ┌───┴────┐
                      │ ledger │               │ ledger │
                      └───┬────┘               └───┬────┘
                  every second a checkpoint, signed and time-stamped

 central registry: who belongs, whom to trust   trust services: CA, OCSP, TSA
"""
PICTURE_WIDTH = max(map(len, PICTURE.splitlines()))
NARROW_PICTURE = """\
the tax board's program (any gRPC)
  v  its security server: signs, records
  v  mTLS
  v  the population register's security server: verifies, records
the population register's own system
each ledger: every second a signed checkpoint, time-stamped
central registry: who belongs, whom to trust
trust services: CA, OCSP, TSA
"""


class NotSo(CommandFailure):
    """A step of the demo that did not do what it says."""

    status = NOT_SO

    def __init__(self, claim: str) -> None:
        super().__init__("NOT_SO", f"this step did not do what it says: {claim}")


@dataclass(slots=True)
class Chapter:
    title: str
    claims: list[str] = field(default_factory=list)


class Narration:
    """Prints the story; what it claims was found to hold, or NotSo is raised."""

    def __init__(self, *, on_stderr: bool) -> None:
        self.console = Console(
            file=sys.stderr if on_stderr else None,
            markup=False,
            highlight=False,
            emoji=False,
        )
        self.chapters: list[Chapter] = []

    def begin(self, title: str) -> None:
        self.chapters.append(Chapter(title))
        self.console.print()
        self.console.rule(Text(f"{len(self.chapters)}. {title}", style="bold"))

    def say(self, text: str) -> None:
        self.console.print(Text(text))

    def command(self, text: str) -> None:
        """Name the command with which people do the same, in one piece."""
        self.console.print(Text(f"$ ristmik {text}", style="dim"), soft_wrap=True)

    def show(self, title: str, shown: RenderableType) -> None:
        self.console.print(Panel(shown, title=Text(title), title_align="left"))

    def rows(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self.console.print(table(columns, rows))

    def claim(self, text: str, holds: object) -> None:
        """Say something that was checked; raise NotSo if it is not so."""
        if not holds:
            raise NotSo(text)
        self.chapters[-1].claims.append(text)
        self.console.print(Text("  [ok] ", style="green") + Text(text))

    def picture(self) -> None:
        fits = self.console.width >= PICTURE_WIDTH
        self.console.print(Text(PICTURE if fits else NARROW_PICTURE))

    def document(self) -> Sequence[Document]:
        return [
            {"title": chapter.title, "claims": chapter.claims}
            for chapter in self.chapters
        ]
