# shellcheck shell=bash disable=SC2154  # sourced by images, which sets work
# One folder becomes one OCI image: a single layer, the same bytes for the same input, in a tar that containerd imports.

# Writes the image NAME of everything in $work/root to OUT; further arguments are `umoci config` options.
write_image() { # NAME OUT OPTIONS...
    local image=$1 out=$2
    shift 2
    local reference=$work/layout:$image
    # One owner and one date, so that equal content is an equal digest wherever and whenever it is made.
    tar -C "$work/root" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 --format=gnu -cf "$work/layer.tar" .
    umoci init --layout "$work/layout"
    umoci new --image "$reference"
    umoci raw add-layer --history.created 1970-01-01T00:00:00Z --image "$reference" "$work/layer.tar"
    umoci config --image "$reference" --no-history --created 1970-01-01T00:00:00Z --os linux --architecture "$(architecture)" "$@"
    umoci gc --layout "$work/layout"
    mkdir -p "$(dirname "$out")"
    # Renamed when complete: an interrupted run leaves no half of an image.
    tar -C "$work/layout" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 --format=gnu -cf "$out.$$" .
    mv "$out.$$" "$out"
    say "$image: $(du -h --apparent-size "$out" | cut -f1) in $out"
}

# OCI's own labels, as annotations of the image's configuration.
describe() { # TITLE DESCRIPTION VERSION
    local label=org.opencontainers.image
    labels=(--config.label "$label.title=$1" --config.label "$label.description=$2" --config.label "$label.version=$3")
}

architecture() {
    case $(uname -m) in
        x86_64) echo amd64 ;;
        aarch64) echo arm64 ;;
        *) uname -m ;;
    esac
}
