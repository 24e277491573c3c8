"""The chapters of the demo, in their order."""

from collections.abc import Callable, Sequence
from typing import Final

from cli.demo.attacks import edited_row, forgotten, without_the_right, wrong_person
from cli.demo.evidence import anchors, records
from cli.demo.narration import NotSo
from cli.demo.opening import members, question, right
from cli.demo.stage import Stage
from vocabulary.faults import Fault

CHAPTERS: Final[Sequence[Callable[[Stage], None]]] = (
    members,
    right,
    question,
    records,
    anchors,
    without_the_right,
    wrong_person,
    edited_row,
    forgotten,
)


def play(stage: Stage) -> None:
    """Tell all chapters; raise NotSo at the first step that is not as it says."""
    stage.narration.picture()
    for chapter in CHAPTERS:
        try:
            chapter(stage)
        except Fault as fault:
            raise NotSo(f"{fault.code}: {fault.detail}") from fault
