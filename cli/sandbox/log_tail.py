"""The end of a program's log, for those who are told that it failed."""

from pathlib import Path

_LINES = 12
_OCTETS = 16 << 10


def log_tail(log: Path, lines: int = _LINES) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _OCTETS))
            text = file.read().decode(errors="replace")
    except OSError as error:
        return str(error)
    return "\n".join(text.splitlines()[-lines:])
