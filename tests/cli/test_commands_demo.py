"""How the demo narrates; that its steps are true is tested end to end."""

import pytest

from cli.demo.narration import PICTURE_WIDTH, Narration, NotSo
from cli.failures import NOT_SO


@pytest.fixture(params=["1", "20", "79", "80", "400"])
def columns(request, monkeypatch) -> int:
    monkeypatch.setenv("COLUMNS", request.param)
    return int(request.param)


def test_no_width_breaks_the_story(columns, capsys) -> None:
    narration = Narration(on_stderr=False)
    narration.picture()
    narration.begin("A chapter with a title that is rather long for a terminal")
    narration.say("word " * 40)
    narration.rows(["Ledger of", "Entry"], [("EE-SANDBOX/GOV/70000349/ss1", "12")])
    narration.show("A panel", "0123456789abcdef" * 20)
    narration.claim("it holds", holds=True)
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert all(len(line.rstrip()) <= max(columns, 1) for line in printed.splitlines())
    assert "EE-SANDBOX/GOV/70000349/ss1" in printed or columns < 79


def test_picture_is_drawn_where_it_fits(columns, capsys) -> None:
    Narration(on_stderr=False).picture()
    assert ("┌" in capsys.readouterr().out) == (columns >= PICTURE_WIDTH)


def test_command_is_left_in_one_piece(columns, capsys) -> None:
    command = "call --client EE-SANDBOX/GOV/70000349/tax " + "--subject PNOEE-1 " * 30
    Narration(on_stderr=False).command(command.strip())
    assert capsys.readouterr().out == f"$ ristmik {command.strip()}\n"


def test_claim_that_does_not_hold_ends_the_demo() -> None:
    narration = Narration(on_stderr=False)
    narration.begin("A chapter")
    narration.claim("this holds", holds=True)
    with pytest.raises(NotSo, match="that does not") as raised:
        narration.claim("that does not", holds=None)
    assert raised.value.status == NOT_SO
    assert narration.document() == [{"title": "A chapter", "claims": ["this holds"]}]


def test_for_programs_the_story_goes_to_standard_error(capsys) -> None:
    Narration(on_stderr=True).say("once upon a time")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "once upon a time\n")
