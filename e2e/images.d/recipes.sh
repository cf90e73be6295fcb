# shellcheck shell=bash disable=SC2154  # sourced by images, which sets work and here
# What goes into each image, and how it starts.

image_sidecar() { # BINARY OUT
    synapse_image synapse-sidecar "The cache beside your container: a Unix socket in front of memory and Redis" 25 "$@"
}

image_operator() { # BINARY OUT
    synapse_image synapse-operator "Injects Synapse's sidecars and keeps its caches and topics as they are declared" 40 "$@"
}

# The same content as images/*.Dockerfile: one static binary and the public authorities, no shell, user 65532.
synapse_image() { # NAME DESCRIPTION LIMIT_MB BINARY OUT
    (($# == 5)) || die "give the binary and the file to write: see $0 --help"
    local version size
    version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$here/../Cargo.toml")
    add_static "$4" "/$1"
    add_authorities
    size=$(stat --format %s "$4")
    ((size <= $3 * 1000 * 1000)) || die "$4 has $size bytes, but the image of $1 may have $3 MB: strip it, or build it with --release"
    describe "$1" "$2" "$version"
    write_image "localhost/$1:$version" "$5" "${labels[@]}" --config.label org.opencontainers.image.licenses=Apache-2.0 \
        --config.user 65532:65532 --config.workingdir / --config.entrypoint "/$1"
}

image_redis() { # OUT
    local server cli
    server=$(command -v redis-server) || die "redis-server is missing: apt-get install redis-server redis-tools"
    cli=$(command -v redis-cli) || die "redis-cli is missing: apt-get install redis-tools"
    add_skeleton
    add_busybox
    add_with_libraries "$server" "$cli"
    describe redis "Debian's Redis, for tests" "$("$server" --version | sed 's/.* v=\([^ ]*\).*/\1/')"
    write_image localhost/redis:test "${1:?OUT}" "${labels[@]}" --config.user 65532:65532 --config.workingdir /tmp \
        --config.env PATH=/usr/local/bin:/usr/bin:/bin --config.entrypoint "$server" --config.exposedports 6379/tcp \
        --config.cmd --protected-mode --config.cmd no --config.cmd --save --config.cmd ''
}

# /usr/bin/python3 is Debian's, whatever Python the caller's PATH prefers: its files are in known places.
image_python() { # OUT
    local python=/usr/bin/python3 version library
    [[ -x $python ]] || die "$python is missing: apt-get install python3"
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    library=/usr/lib/python$version
    add_skeleton
    add_busybox
    add_with_libraries "$python" "$library"/lib-dynload/*.so
    mkdir -p "$work/root$library"
    (cd "$library" && find . -name '*.py' ! -path './test/*' ! -path './idlelib/*' ! -path './lib2to3/*' ! -path './tkinter/*' -print0) |
        tar -C "$library" --null --files-from - --dereference -cf - | tar -C "$work/root$library" -xf -
    # Run by the image's own interpreter, on whose version the package's dependencies depend.
    python3 -m pip --python "$python" --quiet --disable-pip-version-check install --root-user-action ignore --no-compile --only-binary :all: \
        --target "$work/root$library" "redis==$redis_client_version"
    describe python "Debian's Python 3 with the redis package, for tests" "$version"
    write_image localhost/python:test "${1:?OUT}" "${labels[@]}" --config.user 65532:65532 --config.workingdir /tmp \
        --config.env PATH=/usr/bin:/bin --config.env PYTHONUNBUFFERED=1 --config.env PYTHONDONTWRITEBYTECODE=1 --config.entrypoint "$python"
}

image_busybox() { # OUT
    add_skeleton
    add_busybox
    describe busybox "A shell and its tools, for tests" "$(busybox | sed -n '1s/BusyBox v\([^ ]*\).*/\1/p')"
    write_image localhost/busybox:test "${1:?OUT}" "${labels[@]}" --config.env PATH=/bin --config.cmd sh
}

image_pause() { # BINARY OUT
    add_static "$1" /pause
    describe pause "Holds a pod's namespaces" "$pause_version"
    write_image "localhost/pause:$pause_version" "$2" "${labels[@]}" --config.user 65535:65535 --config.entrypoint /pause
}

image_coredns() { # BINARY OUT
    add_static "$1" /coredns
    describe coredns "The cluster's DNS" "$coredns_version"
    write_image "localhost/coredns:$coredns_version" "$2" "${labels[@]}" --config.entrypoint /coredns
}
