# syntax=docker/dockerfile:1
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# What is built is what Cargo.lock says, and nothing else.
RUN cargo build --release --locked --bin claviger \
    && install -d -m 0770 -o 65532 -g 65532 /out/var/lib/claviger \
    && install -D -m 0755 target/release/claviger /out/usr/local/bin/claviger

# No shell, no package manager: the C library, certificates, time zones.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build --chown=65532:65532 /out/var/lib/claviger /var/lib/claviger
COPY --from=build /out/usr/local/bin/claviger /usr/local/bin/claviger
USER 65532:65532
WORKDIR /var/lib/claviger
VOLUME /var/lib/claviger
# For the health check alone, which then needs no certificate.
ENV CLAVIGER_SERVER__INTERNAL_LISTEN=127.0.0.1:7421
EXPOSE 7420
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 \
    CMD ["/usr/local/bin/claviger", "healthcheck", "--url", "http://127.0.0.1:7421"]
ENTRYPOINT ["/usr/local/bin/claviger"]
CMD ["serve"]
