# The image of the operator: one static binary and the public certificate authorities. Build it from the top of the repository:
#   docker build -f images/operator.Dockerfile -t REGISTRY/synapse-operator:0.1.0 .
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# Static, so that the image needs no C library. Naming the target keeps the flag away from build scripts and procedural macros.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    target="$(rustc -vV | sed -n 's/^host: //p')" \
    && RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --locked --target "$target" --package synapse-operator --bin synapse-operator \
    && install -D "target/$target/release/synapse-operator" /out/synapse-operator

FROM scratch
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="synapse-operator" \
      org.opencontainers.image.description="Injects Synapse's sidecars and keeps its caches and topics as they are declared" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.licenses="Apache-2.0"
# For a Redis whose certificate is a public one.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/synapse-operator /synapse-operator
# By number: without /etc/passwd a kubelet can verify runAsNonRoot only for a number.
USER 65532:65532
ENTRYPOINT ["/synapse-operator"]
