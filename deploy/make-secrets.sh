#!/bin/bash
# Makes what docker-compose.yml calls secrets, outside the image and outside git.
set -euo pipefail
cd "$(dirname "$0")"
# Closed to others on this machine; the file itself is read by other users' numbers
# inside the containers that it is mounted into.
install -d -m 0700 secrets
if [ ! -s secrets/postgres-password ]; then
  head -c 24 /dev/urandom | base64 | tr -d '\n' | tr '+/' '-_' > secrets/postgres-password
  chmod 0444 secrets/postgres-password
fi
