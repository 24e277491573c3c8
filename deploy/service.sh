#!/bin/sh
# Runs one service of docker-compose.yml as soon as `setup` (cli/sandbox/compose.py) says so:
#
#     service.sh PACKAGE NAME
set -eu
until [ -e "$RISTMIK_DIR/started/$2" ]; do sleep 0.2; done
exec python -m "$1" --settings "$RISTMIK_DIR/settings/$2.toml"
