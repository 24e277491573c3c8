"""Make .venv hold what requirements.lock names, and this checkout; nothing twice.

Needs nothing but Python 3.11 and its venv module. What was installed is remembered in
.venv/installed, so a second run is a look at two files.
"""

import fcntl
import hashlib
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOCK = ROOT / "requirements.lock"
STAMP = VENV / "installed"
LOG = VENV / "install.log"
LAST_LINES = 30
PIP = (PYTHON, "-m", "pip", "--disable-pip-version-check", "--no-input")


class InstallFailed(Exception):
    """What went wrong, and what to do about it."""


def wanted() -> str:
    """Say what .venv is made from: the lock, the project file, and where it stands."""
    parts = (LOCK.read_bytes(), (ROOT / "pyproject.toml").read_bytes(), bytes(ROOT))
    return " ".join(hashlib.sha256(part).hexdigest() for part in parts)


def main() -> int:
    with only_one():
        if STAMP.exists() and STAMP.read_text() == wanted():
            return 0
        begun = time.monotonic()
        STAMP.unlink(missing_ok=True)
        make_venv()
        pip("install", "--require-hashes", "-r", LOCK, packages=packages())
        pip("install", "--no-deps", "--no-build-isolation", "-e", ROOT)
        STAMP.write_text(wanted())
        say(f"installed in {time.monotonic() - begun:.0f} s")
    return 0


@contextmanager
def only_one() -> Iterator[None]:
    """Hold off a second `make` in this checkout until this one is done."""
    with LOCK.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def make_venv() -> None:
    if has_pip():
        return
    if sys.prefix == str(VENV):
        raise InstallFailed("deactivate .venv first: it has to be made anew")
    say(f"making .venv with Python {sys.version.split()[0]}")
    made = subprocess.run(
        [sys.executable, "-m", "venv", "--clear", VENV],
        check=False,
        capture_output=True,
        text=True,
    )
    if made.returncode:
        raise InstallFailed(
            f"{made.stdout}{made.stderr}\n"
            "`python3 -m venv` does not work here; on Debian and Ubuntu: "
            "apt-get install python3-venv"
        )


def has_pip() -> bool:
    # A link to a Python that has gone from this machine does not exist.
    if not PYTHON.exists():
        return False
    found = subprocess.run([*PIP, "--version"], check=False, capture_output=True)
    return found.returncode == 0


def packages() -> int:
    return sum(1 for line in LOCK.read_text().splitlines() if "==" in line)


def pip(*arguments: str | Path, packages: int = 0) -> None:
    """Run pip; its words go to a log, and one line of progress to the terminal."""
    if packages:
        say(f"installing {packages} packages")
    collected = 0
    with (
        LOG.open("w") as log,
        subprocess.Popen(
            [*PIP, *arguments, "--progress-bar", "off"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as running,
    ):
        for line in running.stdout or ():
            log.write(line)
            if line.startswith("Collecting "):
                collected += 1
                progress(f"{collected} of {packages}: {line.split()[1]}")
            elif line.startswith("Installing collected"):
                progress("unpacking")
    progress("")
    if running.returncode:
        said = "\n".join(LOG.read_text().splitlines()[-LAST_LINES:])
        raise InstallFailed(f"{said}\npip failed; all it said is in {LOG}")


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def progress(words: str) -> None:
    """Write over the last line of a terminal; say nothing to a file."""
    if sys.stderr.isatty():
        print(f"\r\033[K{words}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except InstallFailed as failure:
        say(str(failure))
        raise SystemExit(1) from failure
