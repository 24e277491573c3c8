# One image for every service; the command chooses which. Holds no secret: keys, settings
# and passwords are mounted.

FROM docker.io/library/python:3.11-slim-bookworm AS build

# Anything: install from dist/wheels alone, on machines that reach no package index.
ARG WHEELS=

WORKDIR /src
COPY requirements.lock ./
COPY scripts/lock_subset.py scripts/
# The lock stands here twice so that there is something to copy when there are no wheels.
COPY requirements.lock dist/wheels* wheels/
RUN set -eu; \
    from="${WHEELS:+--no-index --find-links wheels}"; \
    python3 scripts/lock_subset.py > /tmp/runtime.txt; \
    python3 scripts/lock_subset.py build > /tmp/build.txt; \
    python3 -m venv /opt/ristmik; \
    /opt/ristmik/bin/pip install --no-cache-dir --quiet $from --require-hashes -r /tmp/runtime.txt; \
    python3 -m venv /tmp/build; \
    /tmp/build/bin/pip install --no-cache-dir --quiet $from --require-hashes -r /tmp/build.txt
COPY . .
RUN set -eu; \
    /tmp/build/bin/pip wheel --quiet --no-index --no-deps --no-build-isolation -w /tmp/wheel .; \
    /opt/ristmik/bin/pip install --quiet --no-index --no-deps /tmp/wheel/*.whl

FROM docker.io/library/python:3.11-slim-bookworm

RUN groupadd --gid 10001 ristmik \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent \
      --shell /usr/sbin/nologin ristmik \
 && install -d -o ristmik -g ristmik -m 0700 /var/lib/ristmik
COPY --from=build /opt/ristmik /opt/ristmik
# The agencies' own systems are no part of the product: they are run from here.
COPY examples /opt/agencies/examples
COPY deploy/service.sh /usr/local/bin/
ENV PATH=/opt/ristmik/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    RISTMIK_DIR=/var/lib/ristmik
WORKDIR /opt/agencies
USER ristmik
CMD ["ristmik", "--help"]
