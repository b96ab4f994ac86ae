# infermark in a container: measures what the container may use (CPU quota, cpuset, memory limit).
#
#   docker build -t infermark .
#   docker run --rm --cpus 1.5 -v infermark-cache:/cache -v "$PWD":/work infermark run sentiment
FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --profile dist --locked

FROM debian:bookworm-slim
# pip and npm fetch models, data and ONNX Runtime; Mesa gives a software Vulkan adapter.
RUN apt-get update -qq \
 && apt-get install -qq -y --no-install-recommends ca-certificates libvulkan1 mesa-vulkan-drivers npm python3-pip \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/target/dist/infermark /usr/local/bin/infermark
ENV XDG_CACHE_HOME=/cache
VOLUME /cache
WORKDIR /work
ENTRYPOINT ["infermark"]
