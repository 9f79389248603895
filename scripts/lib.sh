# Sourced by the scripts beside it.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

die() { echo "${0##*/}: $*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# packages NAME...: installs those that are missing, on Debian and its kin
packages() {
    local missing=() name
    for name; do
        dpkg-query -W -f '${Status}' "$name" 2> /dev/null | grep -q 'ok installed' || missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get > /dev/null || die "please install: ${missing[*]}"
    if [ "$(id -u)" != 0 ] && ! command -v sudo > /dev/null; then
        die "please install, as root: apt-get install ${missing[*]}"
    fi
    echo "installing: ${missing[*]}"
    # a server that a package starts by itself is none of our business: keep it from starting
    local policy=/usr/sbin/policy-rc.d made=
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee $policy > /dev/null
        as_root chmod +x $policy
        made=yes
    fi
    as_root apt-get -qq update
    local rc=0
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 install -y \
        --no-install-recommends "${missing[@]}" > /dev/null || rc=$?
    [ -z "$made" ] || as_root rm -f $policy
    [ $rc = 0 ] || die "apt-get could not install ${missing[*]}"
}

BUILD_PACKAGES=(cmake make gcc libc6-dev pkg-config libssl-dev libp11-kit-dev openssl p11-kit-modules libmicrohttpd-dev systemtap-sdt-dev)
TOKEN_PACKAGES=(softhsm2 opensc)

# softhsm_module: where the distribution keeps it
softhsm_module() {
    local path
    for path in /usr/lib/*/softhsm/libsofthsm2.so /usr/lib/softhsm/libsofthsm2.so \
        /usr/lib64/pkcs11/libsofthsm2.so; do
        [ -e "$path" ] && echo "$path" && return
    done
    die "libsofthsm2.so not found: install softhsm2"
}

# free_port: a TCP port on 127.0.0.1 that nobody listens on
free_port() {
    local port=$((20000 + ($$ * 7 + RANDOM) % 12000)) # below those that the system gives to clients
    while (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null; do port=$((port + 1)); done
    echo "$port"
}

# wait_for SECONDS COMMAND...: until it succeeds
wait_for() {
    local tries=$(($1 * 20))
    shift
    until "$@" > /dev/null 2>&1; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.05
    done
}

listening() { (exec 3<> "/dev/tcp/127.0.0.1/$1"); }

# uri_pem URI FILE: the URI as a PEM file, for programs that read keys from files only
uri_pem() {
    openssl asn1parse -noout -genconf <(
        printf '%s\n' 'asn1 = SEQUENCE:uri' '[uri]' 'text = VISIBLESTRING:PKCS\#11 Provider URI v1.0' \
            "uri = FORMAT:UTF8,UTF8String:$(printf %s "$1" | sed 's/[\\$#"]/\\&/g')"
    ) -out "$2.der" > /dev/null || return 1
    {
        echo '-----BEGIN PKCS#11 PROVIDER URI-----'
        openssl base64 -in "$2.der"
        echo '-----END PKCS#11 PROVIDER URI-----'
    } > "$2"
    rm -f "$2.der"
}

# memory_folder: a folder for tokens and what belongs to them, /dev/shm where programs can be run from it: SoftHSM2 has
# each object that it makes brought to the disk
memory_folder() {
    local program
    if [ -z "${TMPDIR:-}" ] && program=$(mktemp /dev/shm/bridge-test.XXXXXX 2> /dev/null); then
        printf '#!/bin/sh\n' > "$program"
        chmod 700 "$program"
        if "$program" 2> /dev/null; then TMPDIR=/dev/shm; fi
        rm "$program"
    fi
    echo "${TMPDIR:-/tmp}"
}
