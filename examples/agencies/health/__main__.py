"""`python -m examples.agencies.health --listen HOST:PORT`."""

from examples.agencies.health.service import NAME, add
from examples.agencies.serving import main

raise SystemExit(main("health fund's register", NAME, add))
