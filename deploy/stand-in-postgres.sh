#!/bin/bash
# What docker-compose.yml uses of the official PostgreSQL image's entrypoint.
set -euo pipefail
export PATH=$(echo /usr/lib/postgresql/*/bin):$PATH

if [ "$(id -u)" = 0 ]; then
  install -d -o postgres -g postgres -m 0700 "$PGDATA"
  exec setpriv --reuid=postgres --regid=postgres --init-groups -- "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  # Word by word, as the official entrypoint takes them.
  # shellcheck disable=SC2086
  initdb -D "$PGDATA" -U postgres --auth=scram-sha-256 \
    --pwfile="$POSTGRES_PASSWORD_FILE" ${POSTGRES_INITDB_ARGS:-}
  echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
fi
exec "$@" -c listen_addresses='*'
