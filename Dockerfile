# The driver's image (target driver, the default), the simulator's (target simulator), the operator's (target operator),
# the data mover's (target mover), and a document of what is in the driver's image (target sbom). `make image` and
# `make sbom` build them, with labels for version and revision.
#
# The Python packages are exactly those of docker/*.lock (make lock updates them). The Debian packages come from
# the base image's suite. To fetch packages from a mirror, mount an /etc/pip.conf, or choose a BASE whose
# sources.list names the mirror. A release is built from a base with a digest (`make release`); the image's label
# org.opencontainers.image.base.name says which base it was.
ARG BASE=debian:trixie-slim

# --- base of the images ---------------------------------------------------------------------------
FROM ${BASE} AS base
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PATH=/opt/csi-powerflex/bin:/usr/sbin:/usr/bin:/sbin:/bin
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
        btrfs-progs ca-certificates e2fsprogs kmod mount python3 tini util-linux xfsprogs >/dev/null \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/log/*

# --- Python environments of the images -----------------------------------------------------------------
FROM base AS tools
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
        python3-pip python3-venv >/dev/null
WORKDIR /src
COPY docker docker

FROM tools AS wheel
RUN python3 -m venv /opt/build \
 && /opt/build/bin/pip install --quiet --require-hashes --only-binary :all: --requirement docker/build.lock
COPY pyproject.toml README.md LICENSE ./
COPY csi_powerflex csi_powerflex
RUN /opt/build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels .

# The packages come first, so that a change of the code does not rebuild their layer.
# With -P, the package `operator` in the working folder does not hide that of Python.
FROM tools AS driver-build
RUN python3 -m venv --without-pip /opt/csi-powerflex \
 && pip --python /opt/csi-powerflex/bin/python install --quiet --no-compile --require-hashes \
        --only-binary :all: --requirement docker/driver.lock \
 && cd /opt/csi-powerflex/lib/python3*/site-packages \
 && python3 -P -m compileall -q --invalidation-mode unchecked-hash .
COPY --from=wheel /wheels /wheels
# Python does not check this bytecode against the source. It also works with a read-only root filesystem.
RUN pip --python /opt/csi-powerflex/bin/python install --quiet --no-compile --no-deps /wheels/*.whl \
 && cd /opt/csi-powerflex/lib/python3*/site-packages/csi_powerflex \
 && rm -r simulator demo mover operator cli/simulate.py cli/demo.py cli/mover.py cli/operator.py app/operator.py \
         config/operator.py \
 && python3 -P -m compileall -q --invalidation-mode unchecked-hash .

FROM tools AS mover-build
RUN python3 -m venv --without-pip /opt/csi-powerflex \
 && pip --python /opt/csi-powerflex/bin/python install --quiet --no-compile --require-hashes \
        --only-binary :all: --requirement docker/driver.lock \
 && cd /opt/csi-powerflex/lib/python3*/site-packages \
 && python3 -P -m compileall -q --invalidation-mode unchecked-hash .
COPY --from=wheel /wheels /wheels
# Of the roles, the mover alone: this image reads what strangers made.
RUN pip --python /opt/csi-powerflex/bin/python install --quiet --no-compile --no-deps /wheels/*.whl \
 && cd /opt/csi-powerflex/lib/python3*/site-packages/csi_powerflex \
 && rm -r simulator demo operator cli/simulate.py cli/demo.py cli/operator.py app/operator.py config/operator.py \
         cli/controller.py cli/node.py cli/unified.py cli/doctor \
        cli/volumes.py cli/snapshots.py cli/labels.py \
 && python3 -P -m compileall -q --invalidation-mode unchecked-hash .

FROM tools AS simulator-build
RUN python3 -m venv --without-pip /opt/csi-powerflex \
 && pip --python /opt/csi-powerflex/bin/python install --quiet --no-compile --require-hashes \
        --only-binary :all: --requirement docker/simulator.lock \
 && cd /opt/csi-powerflex/lib/python3*/site-packages \
 && python3 -P -m compileall -q --invalidation-mode unchecked-hash .
COPY --from=wheel /wheels /wheels
RUN pip --python /opt/csi-powerflex/bin/python install --quiet --no-compile --no-deps /wheels/*.whl \
 && cd /opt/csi-powerflex/lib/python3*/site-packages/csi_powerflex \
 && python3 -P -m compileall -q --invalidation-mode unchecked-hash .

FROM tools AS operator-build
RUN python3 -m venv --without-pip /opt/csi-powerflex \
 && pip --python /opt/csi-powerflex/bin/python install --quiet --no-compile --require-hashes \
        --only-binary :all: --requirement docker/operator.lock \
 && cd /opt/csi-powerflex/lib/python3*/site-packages \
 && python3 -P -m compileall -q --invalidation-mode unchecked-hash .
COPY --from=wheel /wheels /wheels
RUN pip --python /opt/csi-powerflex/bin/python install --quiet --no-compile --no-deps /wheels/*.whl \
 && cd /opt/csi-powerflex/lib/python3*/site-packages/csi_powerflex \
 && rm -r simulator demo mover cli/simulate.py cli/demo.py cli/mover.py \
 && python3 -P -m compileall -q --invalidation-mode unchecked-hash .

# --- the simulated array -----------------------------------------------------------------------------
FROM base AS simulator
ARG BASE
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="csi-powerflex simulator" \
      org.opencontainers.image.description="A simulated PowerFlex whose volumes are real block devices" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE}"
COPY --from=simulator-build /opt/csi-powerflex /opt/csi-powerflex
# Without block devices (--sdc) the simulator needs no rights. With block devices (--host) it needs root and /dev.
USER 65532:65532
ENTRYPOINT ["/usr/bin/tini", "--", "csi-powerflex"]
CMD ["simulate"]

# --- the operator ------------------------------------------------------------------------------------
FROM ${BASE} AS operator
ARG BASE
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="csi-powerflex operator" \
      org.opencontainers.image.description="Leads the custom resources of powerflex.dev" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE}"
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PATH=/opt/csi-powerflex/bin:/usr/sbin:/usr/bin:/sbin:/bin
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
        ca-certificates python3 tini >/dev/null \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/log/*
COPY --from=operator-build /opt/csi-powerflex /opt/csi-powerflex
USER 65532:65532
ENTRYPOINT ["/usr/bin/tini", "--", "csi-powerflex"]
CMD ["operator"]

# --- the data mover ----------------------------------------------------------------------------------
# It has qemu-img without the drivers for networks (qemu-block-extra), because images are downloaded first.
FROM ${BASE} AS mover
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PATH=/opt/csi-powerflex/bin:/usr/sbin:/usr/bin:/sbin:/bin
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
        ca-certificates python3 qemu-utils tini util-linux zstd >/dev/null \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/log/*
ARG BASE
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="csi-powerflex mover" \
      org.opencontainers.image.description="Copies, imports and exports volumes of csi-powerflex" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE}"
COPY --from=mover-build /opt/csi-powerflex /opt/csi-powerflex
# The root filesystem can be read-only: it writes only to /scratch, the target and the termination message.
USER 65532:65532
ENTRYPOINT ["/usr/bin/tini", "-g", "--", "csi-powerflex", "mover"]
CMD ["--help"]

# --- the driver --------------------------------------------------------------------------------------
FROM base AS driver
ARG BASE
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="csi-powerflex" \
      org.opencontainers.image.description="CSI driver for Dell PowerFlex" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE}"
COPY --from=driver-build /opt/csi-powerflex /opt/csi-powerflex
# The controller runs as this user. The node's pod overrides it with root.
USER 65532:65532
ENTRYPOINT ["/usr/bin/tini", "--", "csi-powerflex"]
CMD ["--help"]

# --- what is in the driver's image ---------------------------------------------------------------------
# The result is the file sbom.json, in the format CycloneDX: docker build --target sbom --output dist .
FROM tools AS sbom-build
RUN python3 -m venv /opt/sbom \
 && /opt/sbom/bin/pip install --quiet --require-hashes --only-binary :all: --requirement docker/sbom.lock
COPY --from=driver /opt/csi-powerflex /opt/csi-powerflex
COPY --from=driver /var/lib/dpkg/status /image/var/lib/dpkg/status
COPY --from=driver /usr/lib/os-release /image/etc/os-release
ARG BASE
ARG VERSION=unknown
ARG REVISION=unknown
RUN /opt/sbom/bin/cyclonedx-py environment --output-reproducible --output-file /python.json /opt/csi-powerflex/bin/python \
 && /opt/sbom/bin/python docker/sbom.py --validate --version "${VERSION}" --revision "${REVISION}" --base "${BASE}" \
        /python.json /image /sbom.json

FROM scratch AS sbom
COPY --from=sbom-build /sbom.json /

# The default target.
FROM driver
