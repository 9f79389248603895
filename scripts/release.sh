# Sourced after lib.sh by what runs things in another Debian release: a folder made by debootstrap,
# build-roots/SUITE, kept for the next time. With ARCHITECTURE it is another processor's, build-roots/SUITE-ARCHITECTURE.

# release_alone ARGUMENT...: runs this script again, with these, with mounts and processes of its own: none is left, however
# it ends. As root.
release_alone() {
    [ "$(id -u)" = 0 ] || die "root is needed for chroot"
    [ -n "${RELEASE_ALONE:-}" ] || exec env RELEASE_ALONE=yes unshare --mount --propagation private --pid --fork --mount-proc "$0" "$@"
    trap 'exit 130' INT TERM
}

# release_open SUITE PACKAGE...: makes the folder ready, with these packages; then inside COMMAND... runs there,
# with this source tree at the same place. As root.
release_open() {
    SUITE=$1
    shift
    BASE=$SUITE
    [ "$SUITE" != experimental ] || BASE=sid
    DIR=$ROOT/build-roots/$SUITE${ARCHITECTURE:+-$ARCHITECTURE}
    [ "$(id -u)" = 0 ] || die "root is needed for chroot"
    packages debootstrap
    release_make
    trap release_close EXIT
    mkdir -p "$DIR$ROOT"
    local m
    for m in /proc /sys /dev /dev/shm /dev/pts; do mount --bind "$m" "$DIR$m"; done
    mount --bind "$ROOT" "$DIR$ROOT"
    [ ! -e /etc/resolv.conf ] || cp /etc/resolv.conf "$DIR/etc/resolv.conf"
    grep -qs localhost "$DIR/etc/hosts" || printf '127.0.0.1 localhost\n::1 localhost\n' >> "$DIR/etc/hosts"
    release_packages "$@"
    echo "$SUITE${ARCHITECTURE:+, $ARCHITECTURE}: $(inside openssl version)"
}

# release_build PRESET: its folder is BUILD, and SANITIZERS has the packages, without "lib", of what it was built with
SANITIZERS=()
release_build() {
    BUILD=$(python3 - "$1" << 'PY'
import json, sys

for preset in json.load(open("CMakePresets.json"))["configurePresets"]:
    if preset["name"] == sys.argv[1]:
        print(preset["binaryDir"].replace("${sourceDir}/", ""))
PY
    )
    [ -n "$BUILD" ] || die "no such preset: $1"
    case $1 in
        *asan*) SANITIZERS=(asan8 ubsan1) ;;
        tsan) SANITIZERS=(tsan2 ubsan1) ;;
    esac
}

# release_sanitizers: their libraries, where the compiler here has told the build that they are
release_sanitizers() {
    local name path
    for name in "${SANITIZERS[@]}"; do
        path=$(gcc -print-file-name="lib${name%?}.so")
        mkdir -p "$DIR${path%/*}"
        ln -sf "/usr/lib/$(gcc -print-multiarch)/lib${name%?}.so.${name: -1}" "$DIR$path"
    done
}

# release_tests BUILD CTEST-ARGUMENTS...: the tests of that build here that they select, run there, one after the other.
# ctest knows their commands and their environment. With EMULATED they are told, and have more time.
release_tests() {
    local passed=0 failed=0 build=$1
    shift
    ctest --test-dir "$build" --show-only=json-v1 "$@" > "$DIR/tests.json"
    release_commands > "$DIR/tests.sh"
    # shellcheck disable=SC1091
    . "$DIR/tests.sh"
    echo "$passed passed, $failed failed"
    [ "$passed" -gt 0 ] && [ "$failed" = 0 ]
}

release_commands() {
    python3 - "$DIR/tests.json" << 'PY'
import json, shlex, sys

# valgrind, cmake: not about the release
skip = {"unit/unpad-constant-time", "unit/reproducible", "documents", "bench/instructions", "apps/module"}
for test in json.load(open(sys.argv[1]))["tests"]:
    if test["name"] in skip:
        continue
    env = []
    for p in test["properties"]:
        if p["name"] == "ENVIRONMENT":
            env = p["value"]
    print("release_run", shlex.quote(test["name"]), "env", shlex.join(env), shlex.join(test["command"]))
PY
}

release_run() {
    local name=$1 status=0
    shift
    inside env ${EMULATED:+BRIDGE_EMULATED=yes} "$@" < /dev/null > "$DIR/test.log" 2>&1 || status=$?
    if [ $status = 0 ]; then
        passed=$((passed + 1))
        echo "passed  $name"
    elif [ $status = 77 ]; then
        echo "skipped $name: $(tail -1 "$DIR/test.log")"
    else
        failed=$((failed + 1))
        echo "FAILED  $name"
        grep -E 'FAILED|ERROR|LINE|not found' "$DIR/test.log" | head -20 || tail -5 "$DIR/test.log"
    fi
}

inside() { chroot "$DIR" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive ${QEMU_CPU:+QEMU_CPU="$QEMU_CPU"} "$@"; }

release_mirror() {
    sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\) .*/\2/p' \
        /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2> /dev/null | grep -m1 -E 'debian/?$'
}

release_make() {
    [ ! -e "$DIR/ready" ] || { release_newest; return 0; }
    rm -rf "$DIR"
    mkdir -p "$DIR"
    debootstrap --variant=minbase ${ARCHITECTURE:+"--arch=$ARCHITECTURE"} ${RELEASE_INCLUDE:+--include="$RELEASE_INCLUDE"} "$BASE" "$DIR" "$(release_mirror)" > "$DIR.log" 2>&1 || { tail -5 "$DIR.log"; die "debootstrap failed"; }
    local file
    for file in /etc/apt/apt.conf.d/*; do # how the mirror is reached; what a package brought, its own there brings
        dpkg -S "$file" > /dev/null 2>&1 || cp "$file" "$DIR/etc/apt/apt.conf.d/"
    done
    release_newest
    touch "$DIR/ready"
}

# release_newest: of experimental, which is sid otherwise, OpenSSL is taken
release_newest() {
    [ "$SUITE" = experimental ] || return 0
    echo "deb $(release_mirror) experimental main" > "$DIR/etc/apt/sources.list.d/experimental.list"
    printf 'Package: src:openssl\nPin: release a=experimental\nPin-Priority: 990\n' > "$DIR/etc/apt/preferences.d/experimental"
}

release_close() {
    local m
    for m in "$ROOT" /dev/pts /dev/shm /dev /sys /proc; do
        ! mountpoint -q "$DIR$m" || umount "$DIR$m" || echo "$DIR$m stays mounted: unmount it before the folder is removed" >&2
    done
    return 0
}

release_packages() {
    ! inside dpkg -s "$@" > /dev/null 2>&1 || return 0
    printf '#!/bin/sh\nexit 101\n' > "$DIR/usr/sbin/policy-rc.d"
    chmod +x "$DIR/usr/sbin/policy-rc.d"
    {
        inside apt-get -qq update
        inside apt-get -qq install -y --no-install-recommends "$@"
    } >> "$DIR.log" 2>&1 || { tail -5 "$DIR.log"; die "the packages did not install"; }
}
