# One image for each service: docker build --build-arg SERVICE=gateway -t fastcms-gateway .
#
# SERVICE is the folder of a service. BASE is any image with Python 3.11 or newer as python3 and its venv module, such
# as a Debian made by debootstrap with python3-venv. Where packages come from is pip's own matter: PIP_INDEX_URL.

ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG SERVICE
ARG PIP_INDEX_URL
# Two builds of one commit give the same wheels.
ENV SOURCE_DATE_EPOCH=1735689600 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN test -n "$SERVICE" || { echo "say which service: --build-arg SERVICE=gateway" >&2; exit 1; }

# All that is pinned is fetched and its hashes are checked; what the service needs of it is installed further down.
# Wheels only: nothing is compiled, here or later.
COPY requirements.lock ./
RUN python3 -m venv /build \
 && /build/bin/pip download --quiet --require-hashes --only-binary :all: --requirement requirements.lock --dest /wheels \
 && /build/bin/pip install --quiet --no-index --find-links /wheels hatchling

COPY protos protos
COPY common common
COPY ${SERVICE} ${SERVICE}
RUN /build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels ./protos ./common "./$SERVICE" \
 && python3 -m venv --without-pip /app \
 && /build/bin/pip --python /app/bin/python install --quiet --no-compile --no-index --find-links /wheels "fastcms-$SERVICE" \
 && /app/bin/python -m compileall -q --invalidation-mode unchecked-hash /app/lib

# `start` is the service, `healthy` asks it how it is. -P: the working directory is not searched for modules.
RUN module=$(echo "$SERVICE" | tr - _) \
 && case "$SERVICE" in gateway) probe=http://127.0.0.1:8000/health/ready ;; *) probe=127.0.0.1:8000 ;; esac \
 && printf '#!/bin/sh\nexec /app/bin/python -P -m %s\n' "$module" > /app/bin/start \
 && printf '#!/bin/sh\nexec /app/bin/python -P -m fastcms_common.probe "${1:-%s}"\n' "$probe" > /app/bin/healthy \
 && chmod 0755 /app/bin/start /app/bin/healthy

FROM ${BASE}
COPY --from=build /app /app
# A volume that is mounted here takes over the owner. 10001: no user of the host, and none in the image.
RUN install -d -o 10001 -g 10001 -m 0700 /data
ENV PATH=/app/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    DATA_DIR=/data LISTEN=0.0.0.0:8000 METRICS_LISTEN=0.0.0.0:9000
WORKDIR /data
USER 10001:10001
EXPOSE 8000 9000
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 CMD ["healthy"]
CMD ["start"]
