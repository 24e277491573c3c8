"""Print the part of requirements.lock that the product, or named groups of it, need.

    lock_subset.py           what an installed Ristmik imports
    lock_subset.py build     what building its wheel needs

The lock says of each package which others wanted it ("# via"); the closure is read from
that, so hashes and versions stay those that everything is tested with.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

LOCK = Path(__file__).resolve().parent.parent / "requirements.lock"
# "# via ristmik (pyproject.toml)" on one line, or a list of such lines below "# via".
_VIA = re.compile(r"^    #(?: via|  ) (\S.*)$", re.MULTILINE)
_PROJECT = "ristmik (pyproject.toml{})"


@dataclass(frozen=True, slots=True)
class Locked:
    name: str
    text: str
    wanted_by: frozenset[str]


def locked() -> list[Locked]:
    entries = re.split(r"^(?=[a-z0-9])", LOCK.read_text(), flags=re.MULTILINE)
    return [
        Locked(entry.split("==")[0], entry, frozenset(_VIA.findall(entry)))
        for entry in entries
        if "==" in entry
    ]


def subset(groups: list[str]) -> list[Locked]:
    entries = locked()
    needed = {_PROJECT.format(f":{group}") for group in groups} or {_PROJECT.format("")}
    while True:
        found = needed | {e.name for e in entries if e.wanted_by & needed}
        if found == needed:
            return [entry for entry in entries if entry.name in needed]
        needed = found


if __name__ == "__main__":
    sys.stdout.write("".join(entry.text for entry in subset(sys.argv[1:])))
