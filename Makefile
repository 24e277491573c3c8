# make demo  on a machine that has Python 3.11 and make: everything else is fetched.
# scripts/install.py says what "installed" means; nothing here is done twice.

PYTHON ?= $(firstword $(foreach name,python3.11 python3 python3.12 python3.13,\
  $(shell $(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
    >/dev/null 2>&1 && echo $(name))))
BIN := .venv/bin
# Two workers; the tests of one file stay together, since they share what they start.
PYTEST_OPTIONS ?= -n 2 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help install demo test check lock protos compose-test

help:
	@echo "make demo          install, then one query between two agencies, end to end"
	@echo "make test          install, then the whole test-suite"
	@echo "make check         install, then format, lint, types, floors, protos, file lengths"
	@echo "make install       .venv with what requirements.lock names, and this checkout"
	@echo "make protos        compile protos/ and examples/ again"
	@echo "make lock          resolve requirements.lock again (needs uv)"
	@echo "make compose-test  docker-compose.yml for real, and one call through it"

install:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or name it: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) scripts/install.py

demo: install
	@$(BIN)/ristmik demo

test: install
	@$(BIN)/python -m pytest $(PYTEST_OPTIONS)

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/python scripts/generate_protos.py --check
	$(BIN)/python scripts/check_file_lengths.py

protos: install
	$(BIN)/python scripts/generate_protos.py

# Not pip-compile: it writes the index options of the machine into the file.
lock:
	uv pip compile --universal --generate-hashes --python-version 3.11 --no-header \
	  --all-extras --group build --group codegen --group lint --group test \
	  pyproject.toml --output-file requirements.lock

compose-test: install
	deploy/compose-test.sh
