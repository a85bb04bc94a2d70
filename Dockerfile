# syntax=docker/dockerfile:1
# docker build -t telemetry-bridge .        For a reproducible image give the base by digest:
#   --build-arg PYTHON_IMAGE=python:3.13-slim-trixie@sha256:…

ARG PYTHON_IMAGE=python:3.13-slim-trixie

# --- build: the locked releases, as wheels only, so that no compiler is needed anywhere ------------------
FROM ${PYTHON_IMAGE} AS build
WORKDIR /source
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore

RUN python -m venv --without-pip /opt/telemetry-bridge
COPY requirements/build.txt requirements/serve.txt requirements/
RUN python -m pip install --only-binary=:all: --require-hashes -r requirements/build.txt \
    && python -m pip --python /opt/telemetry-bridge/bin/python install \
        --only-binary=:all: --require-hashes -r requirements/serve.txt

# Ours last: a change in it costs no download.
COPY pyproject.toml README.md LICENSE ./
COPY bridge bridge
COPY share share
RUN python -m pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
    && python -m pip --python /opt/telemetry-bridge/bin/python install --no-deps dist/*.whl

# --- the image: that folder on the same Python, nothing else --------------------------------------------
FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="telemetry-bridge" \
    org.opencontainers.image.description="MQTT telemetry in, authenticated WebSocket streams out" \
    org.opencontainers.image.licenses="MIT"

COPY --from=build /opt/telemetry-bridge /opt/telemetry-bridge

# The only place that the process writes to: the database of shares. A new volume that is mounted here takes this owner.
RUN install -d -o 10001 -g 10001 -m 700 /var/lib/telemetry-bridge

# HOST: inside a container 127.0.0.1 is the container itself.
ENV PATH=/opt/telemetry-bridge/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    BRIDGE_HOST=0.0.0.0 \
    BRIDGE_DATABASE_URL=sqlite:////var/lib/telemetry-bridge/shares.sqlite3

# A number, so that an orchestrator can tell that it is not root.
USER 10001:10001
WORKDIR /var/empty
EXPOSE 8000
STOPSIGNAL SIGTERM
# Ready, not merely alive: telemetry can arrive. Ten seconds cover a slow MQTT broker at the start.
HEALTHCHECK --interval=10s --timeout=6s --start-period=10s --retries=3 CMD ["telemetry-bridge", "healthcheck"]
ENTRYPOINT ["telemetry-bridge"]
CMD ["serve"]
