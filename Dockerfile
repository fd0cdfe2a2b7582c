# The container image: sluice, the libraries that it needs, and nothing else; not root, and nothing
# of it is written, so that readOnlyRootFilesystem holds. `make image` writes the same root file
# system into an OCI archive without a Docker engine.
#
#     docker build -t sluice .

FROM debian:bookworm-slim AS build
RUN apt-get -qq update && apt-get -qq -y --no-install-recommends install make
WORKDIR /src
# The packages are a layer of their own: what changes the sources does not fetch them again.
COPY Makefile VERSION ./
COPY .ci/deps .ci/deps
RUN make deps-build
COPY . .
RUN make -j"$(nproc)" all && packaging/image/rootfs.sh build/sluice /rootfs

FROM scratch
COPY --from=build /rootfs/ /
USER 65532:65532
EXPOSE 15080 15901
ENTRYPOINT ["/usr/bin/sluice"]
CMD ["proxy", "-c", "/etc/sluice/sluice.yaml"]
