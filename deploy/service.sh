#!/bin/sh
# Runs one service of docker-compose.yml as soon as `setup` has written what it is told:
#
#     service.sh PACKAGE NAME
set -eu
settings="$RISTMIK_DIR/settings/$2.toml"
until [ -s "$settings" ]; do sleep 0.2; done
exec python -m "$1" --settings "$settings"
