# The book's environment, with JupyterLab on its pages at port 8888:
#
#   docker build -t posenc-book .
#   docker run --rm -p 127.0.0.1:8888:8888 posenc-book
#
# Any other command of run_all.sh, with the book in the folder `out` here:
#
#   docker run --rm -v "$PWD/out:/book/out" posenc-book ./run_all.sh --out out
#
# With a GPU and NVIDIA's container toolkit (torch brings CUDA's libraries, the base only what connects it to the driver):
#
#   docker build --build-arg BASE=nvidia/cuda:13.0.2-base-ubuntu24.04 -t posenc-book:gpu .
#   docker run --rm --gpus all -p 127.0.0.1:8888:8888 posenc-book:gpu
ARG BASE=debian:trixie-slim
FROM ${BASE}

# The user has the number of most people's own, so that a mounted folder can be written to; Ubuntu's images use it.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates git python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && { ! id ubuntu || userdel --remove ubuntu; } \
    && useradd --uid 1000 --create-home --shell /bin/bash reader \
    && mkdir /book \
    && chown reader:reader /book

USER 1000
WORKDIR /book
ENV PATH=/home/reader/venv/bin:$PATH \
    POSENC_PYTHON=/home/reader/venv/bin/python

COPY requirements-all.lock ./
RUN python3 -m venv /home/reader/venv \
    && python -m pip install --no-cache-dir --require-hashes -r requirements-all.lock

COPY --chown=reader:reader . .
RUN python -m pip install --no-cache-dir --no-deps --no-build-isolation --editable .

EXPOSE 8888
CMD ["./run_all.sh", "lab", "--ip=0.0.0.0", "--no-browser"]
