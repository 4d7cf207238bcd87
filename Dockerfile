# Restore pictures in a container:
#   docker build --target cpu -t moceir:cpu .
#   docker run --rm -v "$PWD:/pictures" moceir:cpu restore photos -o restored
# The target cuda takes torch with CUDA; run it with `--gpus all`.
FROM python:3.13-slim AS base
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY pyproject.toml README.md LICENSE constraints.txt /build/
COPY src /build/src
RUN useradd --create-home moceir && mkdir /pictures && chown moceir /pictures
WORKDIR /pictures
ENTRYPOINT ["moceir"]
CMD ["--help"]

FROM base AS cpu
# The index may be changed, for example to a mirror. The extra one is for what torch itself needs.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install -c /build/constraints.txt --index-url "$TORCH_INDEX" --extra-index-url https://pypi.org/simple torch \
    && pip install -c /build/constraints.txt "/build[heic]"
USER moceir

FROM base AS cuda
RUN pip install -c /build/constraints.txt "/build[heic]"
USER moceir
