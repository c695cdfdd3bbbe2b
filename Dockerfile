# One image for each service: docker build --build-arg SERVICE=gateway -t fastcms-gateway .
#
# SERVICE is the folder of a service, or cli. BASE is any image with Python 3.11 or newer as python3; it is built in
# BUILD_BASE, where that Python also has its venv module, and strip if the images are to be small. deploy/base-image.sh
# makes both without a registry. Where packages come from is pip's own matter: PIP_INDEX_URL.

ARG BASE=python:3.11-slim-bookworm
ARG BUILD_BASE=python:3.11-slim-bookworm

FROM ${BUILD_BASE} AS build
ARG PIP_INDEX_URL
# Two builds of one commit give the same wheels.
ENV SOURCE_DATE_EPOCH=1735689600 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_NO_CACHE_DIR=1
WORKDIR /src

# All that is pinned is fetched and its hashes are checked; what the service needs of it is installed further down.
# Wheels only: nothing is compiled, here or later.
COPY requirements.lock ./
RUN python3 -m venv /build \
 && /build/bin/pip download --quiet --require-hashes --only-binary :all: --requirement requirements.lock --dest /wheels \
 && /build/bin/pip install --quiet --no-index --find-links /wheels hatchling

COPY . ./
RUN /build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels \
      ./protos ./common ./*-service ./gateway ./cli

# All images share what comes before this.
ARG SERVICE
RUN test -n "$SERVICE" || { echo "say which service: --build-arg SERVICE=gateway" >&2; exit 1; }
# What only people and compilers read of it goes: tests, headers, sources of what is compiled, symbols; the shell that
# Celery brings for its own command line; and from the command line's image Celery itself and the colours for source code.
RUN python3 -m venv --without-pip /app \
 && /build/bin/pip --python /app/bin/python install --quiet --no-compile --no-index --find-links /wheels \
      "$(echo "fastcms-$SERVICE" | sed s/-cli$//)" \
 && cd /app/lib/python3*/site-packages \
 && rm -rf click_repl* prompt_toolkit* wcwidth* \
 && if [ "$SERVICE" = cli ]; then rm -rf celery* redbeat* kombu* billiard* amqp* vine* pygments* markdown_it*; fi \
 && find . -depth \( -name tests -o -name test -o -name testing \) -type d -not -path './fastcms*' -exec rm -rf {} + \
 && find . -type f \( -name '*.pyx' -o -name '*.pxd' -o -name '*.pyi' -o -name '*.c' -o -name '*.cpp' -o -name '*.h' \) -delete \
 && if command -v strip > /dev/null; then find . -name '*.so*' -type f -exec strip --strip-unneeded {} +; fi \
 && /app/bin/python -m compileall -q --invalidation-mode unchecked-hash /app/lib

# `start` is the service, `healthy` asks it how it is. -P: the working directory is not searched for modules.
RUN module=$(echo "$SERVICE" | tr - _ | sed s/^cli$/fastcms_cli/) \
 && case "$SERVICE" in gateway) probe=http://127.0.0.1:8000/health/ready ;; *) probe=127.0.0.1:8000 ;; esac \
 && printf '#!/bin/sh\nexec /app/bin/python -P -m %s\n' "$module" > /app/bin/start \
 && printf '#!/bin/sh\nexec /app/bin/python -P -m fastcms_common.probe "${1:-%s}"\n' "$probe" > /app/bin/healthy \
 && chmod 0755 /app/bin/start /app/bin/healthy

FROM ${BASE}
COPY --from=build /app /app
# A volume that is mounted here takes over the owner. 10001: no user of the host, and none in the image.
RUN install -d -o 10001 -g 10001 -m 0700 /data /backups
ENV PATH=/app/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    DATA_DIR=/data LISTEN=0.0.0.0:8000 METRICS_LISTEN=0.0.0.0:9000
WORKDIR /data
USER 10001:10001
EXPOSE 8000 9000
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s --retries=3 CMD ["healthy"]
CMD ["start"]
