"""`python -m examples.agencies.population --listen HOST:PORT`."""

from examples.agencies.population.service import NAME, add
from examples.agencies.serving import main

raise SystemExit(main("population register", NAME, add))
