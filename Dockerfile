# A small image of the broker: one program on Debian, not root.
#
#   docker build -t tidings:0.1.0 .
#   docker run --rm -p 127.0.0.1:8080:8080 -e TIDINGS__AUTH__MODE=none tidings:0.1.0
#
# In a container the broker listens on all addresses. Then it starts only if auth.mode is set, which
# the operator has to do: an image must not accept every client by default.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
# The allocator is written in C and built by its own Makefile.
RUN apt-get update && apt-get install --yes --no-install-recommends make
COPY Cargo.toml Cargo.lock build.rs ./
COPY .cargo .cargo
COPY config config
COPY docs/openapi.json docs/openapi.json
COPY scripts/publish.lua scripts/publish.lua
COPY crates crates
COPY src src
# `tidings --version` shows the commit: --build-arg TIDINGS_COMMIT=$(git rev-parse HEAD)
ARG TIDINGS_COMMIT
# The image has the program without its debug information, the larger part. The caches remain on the
# build machine, so a change of the sources does not build every dependency again.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin tidings \
    && strip --strip-all -o /usr/local/bin/tidings target/release/tidings

FROM debian:bookworm-slim
# The authorities that rediss:// trusts.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /usr/local/bin/tidings /usr/local/bin/tidings
# A number, because Kubernetes cannot find out whether a name is root.
USER 10001:10001
ENV TIDINGS__SERVER__LISTEN=0.0.0.0:8080
EXPOSE 8080
STOPSIGNAL SIGTERM
# It checks the process and not Redis: a restart does not help Redis, and ends every stream. It
# reads the variables of the broker and none of its flags: set TIDINGS_CONFIG instead of --config.
HEALTHCHECK --interval=5s --timeout=3s --start-period=5s --retries=3 CMD ["tidings", "check", "--health"]
ENTRYPOINT ["tidings"]
CMD ["serve"]
