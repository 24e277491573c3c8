#!/bin/bash
# Stands in for the two base images of docker-compose.yml, from Debian's own packages, on
# a machine that reaches no container registry. Needs root, debootstrap and podman.
set -euo pipefail
cd "$(dirname "$0")"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

import() { # IMAGE, FOLDER, and options of podman import
  tar -C "$work/$2" -c . | podman import --quiet "${@:3}" - "$1"
}

packages=ca-certificates,python3,python3-venv
debootstrap --variant=minbase --include="$packages" bookworm "$work/python" >&2
import docker.io/library/python:3.11-slim-bookworm python

debootstrap --variant=minbase --include="$packages,postgresql" bookworm "$work/postgres" >&2
install -m 0755 stand-in-postgres.sh "$work/postgres/usr/local/bin/docker-entrypoint.sh"
import docker.io/library/postgres:17-bookworm postgres \
  --change 'ENTRYPOINT ["docker-entrypoint.sh"]' --change 'CMD ["postgres"]' \
  --change 'ENV PGDATA=/var/lib/postgresql/data' --change 'STOPSIGNAL SIGINT'
