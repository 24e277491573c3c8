"""`python -m examples.agencies.tax --bus HOST:PORT --person PNOEE-…`.

Prints the person as JSON and ends with 0; or says on standard error who refused, why
and whether the register was asked, and ends with 1.
"""

import argparse
import asyncio
import sys
from dataclasses import fields

from google.protobuf import json_format

from examples.agencies.tax.client import Asking, NotAnswered, ask


def main() -> int:
    parser = argparse.ArgumentParser(description="Ask the population register.")
    parser.add_argument("--bus", required=True, metavar="HOST:PORT")
    parser.add_argument("--person", required=True, metavar="PNOEE-…")
    names = [field.name for field in fields(Asking)]
    defaults = Asking()
    for name in names:
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, default=getattr(defaults, name))
    arguments = parser.parse_args()
    asking = Asking(**{name: getattr(arguments, name) for name in names})
    try:
        person = asyncio.run(ask(arguments.bus, arguments.person, asking))
    except NotAnswered as refused:
        print(  # noqa: T201 - what the user is told
            f"{refused.origin} answered {refused.status.name}: {refused.message}\n"
            f"the register's system: {refused.execution}",
            file=sys.stderr,
        )
        return 1
    print(json_format.MessageToJson(person, ensure_ascii=False))  # noqa: T201 - the same
    return 0


raise SystemExit(main())
