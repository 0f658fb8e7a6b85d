# syntax=docker/dockerfile:1
# The layer as an image: built in one stage, run in another, as a user without rights.
FROM python:3.12-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/kubechat-obs
WORKDIR /src
# Dependencies first: they change less often than the code.
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN python - <<'PY' > /tmp/requirements.txt
import tomllib
print("\n".join(tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]))
PY
RUN /opt/kubechat-obs/bin/pip install -c constraints.txt -r /tmp/requirements.txt
COPY agent agent
COPY actors actors
COPY chatops chatops
COPY migrations migrations
RUN /opt/kubechat-obs/bin/pip install --no-deps . \
 && NUMBA_CACHE_DIR=/opt/kubechat-obs/kernels /opt/kubechat-obs/bin/python -m actors.warm

FROM python:3.12-slim
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/kubechat-obs kubechat-obs
COPY --from=build --chown=10001:10001 /opt/kubechat-obs /opt/kubechat-obs
ENV PATH=/opt/kubechat-obs/bin:$PATH \
    NUMBA_CACHE_DIR=/opt/kubechat-obs/kernels \
    KUBECHAT_OBS_GENERAL_DATA_DIR=/var/lib/kubechat-obs \
    KUBECHAT_OBS_GENERAL_LOG_FORMAT=json
USER 10001
VOLUME /var/lib/kubechat-obs
# To be reached from outside the container, set KUBECHAT_OBS_GATEWAY_HOST and KUBECHAT_OBS_AGGREGATOR_HOST to
# 0.0.0.0 together with their AUTH_TOKENs; the layer refuses one without the other.
EXPOSE 4317 4318 8400 8265
HEALTHCHECK --interval=15s --timeout=3s --start-period=60s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8400/healthz', timeout=2)"]
ENTRYPOINT ["kubechat-obs"]
CMD ["up"]
