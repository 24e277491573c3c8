"""A ledger as JSON lines, by the statements of docs/ledger-format.md."""

import re
from pathlib import Path
from typing import Any

import psycopg

PAGE = Path(__file__).parents[2] / "docs" / "ledger-format.md"


def dump(connection: "psycopg.Connection[Any]") -> list[str]:
    (script,) = re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)
    connection.execute("SET timezone = 'UTC'")
    lines = []
    for statement in script.split(";")[:-1]:
        lines += [row[0] for row in connection.execute(statement.encode())]
    return lines
