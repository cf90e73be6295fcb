# shellcheck shell=bash disable=SC2154  # sourced by images, which sets work
# Fills an image's root folder: a static binary, or programs of this machine together with the libraries that they load.

# A program that asks for an interpreter is dynamic, and would not start in an image without libraries.
add_static() { # BINARY PATH_IN_IMAGE
    [[ -f $1 && -x $1 ]] || die "$1 is not an executable file"
    if readelf --program-headers --wide "$1" | grep -q INTERP; then
        die "$1 is not static: build it with RUSTFLAGS='-C target-feature=+crt-static' --target x86_64-unknown-linux-gnu"
    fi
    install -D -m 0755 "$1" "$work/root$2"
}

# Copies files under their own paths, links resolved, with every shared library that they load.
add_with_libraries() { # FILE...
    local file
    for file; do
        install -D -m 0755 "$(realpath "$file")" "$work/root$file"
    done
    ldd "$@" 2>/dev/null | grep -o '/[^ :)]*' | sort -u | while read -r file; do
        [[ -e $work/root$file ]] || install -D -m 0755 "$(realpath "$file")" "$work/root$file"
    done
}

# The public certificate authorities as Debian ships them, without those that this machine's owner added.
add_authorities() {
    mkdir -p "$work/root/etc/ssl/certs"
    cat /usr/share/ca-certificates/mozilla/*.crt >"$work/root/etc/ssl/certs/ca-certificates.crt"
}

# The folders that programs expect, and names for the two users.
add_skeleton() {
    mkdir -p "$work"/root/{etc,tmp,proc,sys,dev,run}
    chmod 1777 "$work/root/tmp"
    printf 'root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n' >"$work/root/etc/passwd"
    printf 'root:x:0:\nnonroot:x:65532:\n' >"$work/root/etc/group"
}

add_busybox() {
    local busybox command
    busybox=$(command -v busybox) || die "busybox is missing: apt-get install busybox-static"
    add_static "$busybox" /bin/busybox
    for command in $("$busybox" --list); do
        # The list names busybox too: only a missing command becomes a link.
        [[ -e $work/root/bin/$command ]] || ln -s busybox "$work/root/bin/$command"
    done
}
