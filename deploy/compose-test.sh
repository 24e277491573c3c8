#!/bin/bash
# Runs docker-compose.yml for real, makes a call through it, has one refused, verifies
# both ledgers, and forgets it all. With Docker if its engine answers, else with podman;
# there the base images are stood in for if no container registry is reached.
#
#     KEEP=1 deploy/compose-test.sh     leaves it running
set -euo pipefail
cd "$(dirname "$0")/.."

READY_WITHIN_S=300
PERSON=PNOEE-39901012239
CLIENT=EE-SANDBOX/GOV/70000349/tax
CONSUMER=EE-SANDBOX/GOV/70000349/ss1
PROVIDER=EE-SANDBOX/GOV/70008440/ss1

say() { echo "compose-test: $*" >&2; }

work=$(mktemp -d)
finish() {
  if [ -z "${KEEP:-}" ]; then compose down --volumes >"$work/down" 2>&1 || cat "$work/down" >&2; fi
  rm -rf "$work"
}

compose() { "${COMPOSE[@]}" --project-name ristmik-test "$@"; }

use_podman() {
  for command in podman buildah runc netavark:/usr/lib/podman/netavark; do
    [ -x "${command#*:}" ] || command -v "${command%%:*}" >/dev/null || {
      say "neither Docker's engine nor ${command%%:*} is here; on Debian: apt-get install" \
        "podman buildah runc debootstrap netavark aardvark-dns iptables"
      exit 2
    }
  done
  # Without systemd there are no cgroups to give containers, and crun fails.
  [ -d /run/systemd/system ] || export CONTAINERS_CONF=$PWD/deploy/containers.conf
  export BUILDAH_ISOLATION=chroot
  if ! command -v podman-compose >/dev/null; then
    python3 -m venv "$work/venv"
    "$work/venv/bin/pip" install -qq --disable-pip-version-check podman-compose==1.6.0
    PATH=$work/venv/bin:$PATH
  fi
  COMPOSE=(podman-compose)
  for image in python:3.11-slim-bookworm postgres:17-bookworm; do
    podman image exists "docker.io/library/$image" ||
      podman pull --quiet "docker.io/library/$image" >&2 || {
      say "no container registry is reached: the base images are made from Debian's packages"
      deploy/stand-in-images.sh
      break
    }
  done
}

fetch_wheels() { # so that the build needs no package index
  mkdir -p dist/wheels
  .venv/bin/python scripts/lock_subset.py > "$work/runtime.txt"
  .venv/bin/python scripts/lock_subset.py build > "$work/build.txt"
  for list in runtime build; do
    .venv/bin/pip download -qq --disable-pip-version-check --dest dist/wheels \
      --python-version 3.11 --only-binary=:all: --require-hashes -r "$work/$list.txt"
  done
  export WHEELS=yes
}

within() { compose exec -T "$@"; } # SERVICE COMMAND…

until_ready() {
  local end=$((SECONDS + READY_WITHIN_S))
  until within security-server-tax test -s /var/lib/ristmik/instance.json 2>/dev/null; do
    if ((SECONDS > end)); then
      compose logs >&2 || true
      say "not ready after $READY_WITHIN_S s"
      exit 1
    fi
    sleep 1
  done
}


expect() { # WHAT WORDS: standard input holds the words
  local said
  said=$(cat)
  grep -qF -- "$2" <<<"$said" || { say "$1: no $2 in: $said"; exit 1; }
  say "$1"
}

trap finish EXIT
if docker info >/dev/null 2>&1; then COMPOSE=(docker compose); else use_podman; fi
deploy/make-secrets.sh
say "fetching wheels"
fetch_wheels
say "building and starting"
compose build >"$work/build" 2>&1 || { cat "$work/build" >&2; exit 1; }
compose up -d >"$work/up" 2>&1 || { cat "$work/up" >&2; exit 1; }
until_ready

compose --profile call run --rm -T --no-deps tax | expect "the tax board got the person" "$PERSON"
# The health fund's register is offered, and nobody has a right to it.
{ within security-server-tax ristmik call --client "$CLIENT" \
  --service EE-SANDBOX/GOV/74000091/health/insurance/v1 --purpose TAX_ASSESSMENT \
  --legal-basis MKS-30 --subject "$PERSON" --json GetInsurance \
  "{\"person_id\": \"$PERSON\"}" || true; } | expect "a call without the right was refused" ACCESS_DENIED
for server in "$CONSUMER" "$PROVIDER"; do
  within security-server-tax ristmik ledger verify --server "$server" --json |
    expect "the ledger of $server verifies" '"ok": true'
done
within security-server-tax id -u | expect "nothing runs as root" 10001
