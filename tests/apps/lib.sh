# Sourced by the tests beside it: checks, and OpenSSL configurations with the provider in them.
set -uo pipefail
. "$BRIDGE_SOURCE/scripts/lib.sh"
cd "$BRIDGE_DIR"
# A provider with sanitizers needs their libraries in the program that loads it; other programs whose module
# or library uses libcrypto do without the provider.
wrapper() {
    local path
    path=$(PATH=$PATH:/usr/sbin type -P "$1") || return 0
    printf '#!/bin/sh\n%s exec %s "$@"\n' "$2" "$path" > "bin/$1"
    chmod +x "bin/$1"
}
if [ -n "${BRIDGE_PRELOAD:-}" ]; then
    mkdir -p bin
    for program in openssl nginx; do wrapper $program "LD_PRELOAD='$BRIDGE_PRELOAD' ASAN_OPTIONS=detect_leaks=0"; done
    for program in pkcs11-tool p11tool curl; do wrapper $program "OPENSSL_CONF=/dev/null"; done
    PATH=$BRIDGE_DIR/bin:$PATH
fi
checks=0
failures=0

# ok NAME COMMAND...: the command must succeed
ok() {
    local name=$1
    shift
    checks=$((checks + 1))
    if ! "$@" > out.log 2>&1; then
        failures=$((failures + 1))
        echo "FAILED: $name: $*"
        sed 's/^/    /' out.log | tail -15
    fi
}

# says NAME STATUS TEXT COMMAND...: it must exit with STATUS and its output contain TEXT
says() {
    local name=$1 status=$2 text=$3 got=0
    shift 3
    checks=$((checks + 1))
    "$@" > out.log 2>&1 < /dev/null || got=$?
    if [ "$got" != "$status" ] || ! grep -qF -- "$text" out.log; then
        failures=$((failures + 1))
        echo "FAILED: $name: status $got instead of $status, or without \"$text\": $*"
        sed 's/^/    /' out.log | tail -15
    fi
}

# or_lacks WHAT COMMAND...: the test ends where the command fails because the token does not have WHAT
or_lacks() {
    local what=$1
    shift
    "$@" > lacks.log 2>&1 && return
    grep -q CKR_MECHANISM_INVALID lacks.log || cat lacks.log
    echo "the token does not have $what"
    exit 77
}

# at_least VERSION LEAST
at_least() { [ "$(printf '%s\n' "$2" "$1" | sort -V | head -1)" = "$2" ]; }

# module_lines PATH: of the section. What was built here may lie in folders of anybody's.
module_lines() {
    echo "pkcs11-module-path = $1"
    case $1 in "$BRIDGE_BUILD"/*) echo "pkcs11-module-insecure-path = yes" ;; esac
}

# with_fault FILE: that configuration, with the module that fails on command in the place of its own
with_fault() { sed -e "/^pkcs11-module-path/{s#=.*#= $BRIDGE_FAULT#;a pkcs11-module-insecure-path = yes" -e '}' "$1"; }

# configure [FILE]: writes an openssl.cnf with the lines of standard input in the provider's section. OpenSSL 4.0 wants
# extensions at its top: without, its x509 -req takes openssl_conf for one
configure() {
    cat > "${1:-openssl.cnf}" << CNF
openssl_conf = openssl_init
extensions = x509_ext
[openssl_init]
providers = provider_sect
[provider_sect]
default = default_sect
pkcs11 = pkcs11_sect
[default_sect]
activate = 1
[pkcs11_sect]
module = $BRIDGE_PROVIDER
activate = 1
$(cat)
[req]
distinguished_name = req_dn
[req_dn]
[x509_ext]
[ca_ext]
basicConstraints = critical, CA:true
[leaf_ext]
basicConstraints = CA:false
CNF
}

done_testing() {
    echo "$((checks - failures)) passed, $failures failed"
    [ $checks -gt 0 ] && [ $failures = 0 ]
    exit
}

[ -n "${BRIDGE_SETTINGS:-}" ] || echo 1234 > pin
configure << CNF
$(module_lines "$PKCS11_MODULE")
${BRIDGE_SETTINGS:-pkcs11-module-token-pin = file:$BRIDGE_DIR/pin}
CNF
export OPENSSL_CONF=$BRIDGE_DIR/openssl.cnf

# plain COMMAND...: without this provider
plain() { env -u OPENSSL_CONF "$@"; }
