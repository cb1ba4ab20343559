# docker build -t drpca .
# docker build -t drpca:cuda --build-arg BASE=nvidia/cuda:12.8.1-base-ubuntu24.04 .
# docker run --rm -v "$PWD":/work drpca infer --input frames/      (with a GPU: --gpus all)
#
# BASE is any Debian or Ubuntu with Python 3.10 or newer in its packages. TORCH_INDEX names an index with builds of torch
# for CPUs or for another CUDA, which the default, the builds for CUDA, may be replaced by.
ARG BASE=debian:12-slim
FROM ${BASE}

ARG TORCH=torch==2.13.0
ARG TORCH_INDEX=

ENV VIRTUAL_ENV=/opt/venv PATH=/opt/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

# Versions of the packages are those of BASE, whichever that is.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/venv

COPY requirements.lock /opt/drpca/
# TORCH has its version.
# hadolint ignore=DL3013
RUN pip install --require-hashes --no-deps --requirement /opt/drpca/requirements.lock \
    && pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$TORCH"

COPY . /opt/drpca
RUN pip install --no-deps --no-build-isolation /opt/drpca && useradd --create-home --uid 10001 drpca

USER 10001
WORKDIR /work
ENTRYPOINT ["drpca"]
CMD ["--help"]
