# Sourced by the tests of applications: certificates for the token's keys, servers that are started and ended, and
# handshakes that openssl verifies without this provider. What is not installed is no failure: 77, with the reason.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
PATH=$PATH:/usr/sbin:/sbin

skip() {
    echo "$*"
    exit 77
}
# need COMMAND PACKAGE
need() { command -v "$1" > /dev/null || skip "no $1: package $2"; }
# version COMMAND...: the first number with a point that it prints
version() { "$@" 2>&1 < /dev/null | grep -oEm1 '[0-9]+\.[0-9]+(\.[0-9]+)*' | head -1; }

uri() { echo "pkcs11:token=soft;object=$1;type=private"; }

# certificates KEY...: ca.crt, whose key is the token's p384; for each key its KEY.crt, and KEY.key with the URI
certificates() {
    local key
    cat >> openssl.cnf << CNF
[root_ext]
basicConstraints = critical, CA:true
subjectKeyIdentifier = hash
keyUsage = critical, keyCertSign, cRLSign
[server_ext]
basicConstraints = CA:false
authorityKeyIdentifier = keyid
subjectAltName = DNS:localhost, IP:127.0.0.1
keyUsage = digitalSignature, keyEncipherment
extendedKeyUsage = serverAuth, clientAuth, codeSigning, emailProtection
CNF
    openssl req -x509 -key "$(uri p384)" -subj "/CN=the CA" -extensions root_ext -days 10 -out ca.crt || die "no CA"
    for key; do
        openssl req -new -key "$(uri "$key")" -subj "/CN=$key" -out "$key.csr" &&
            openssl x509 -req -in "$key.csr" -CA ca.crt -CAkey "$(uri p384)" -set_serial 0x$RANDOM$RANDOM -days 10 \
                -extfile openssl.cnf -extensions server_ext -out "$key.crt" 2> /dev/null &&
            uri_pem "$(uri "$key")" "$key.key" || die "no certificate for $key"
    done
}

# forms KEY URI-FROM VERSION: how the key can be named: the file with the URI; the URI itself, from a version on ("-": none)
forms() {
    echo "$BRIDGE_DIR/$1.key"
    [ "$2" = - ] || ! at_least "$3" "$2" || uri "$1"
}
form() {
    case $1 in pkcs11:*) echo URI ;; *) echo "URI in PEM" ;; esac
}

# owned_by USER: the token and the PIN are for the user that the server's processes run as
owned_by() { [ "$(id -u)" != 0 ] || chown -R "$1" "$BRIDGE_DIR"; }
# as USER COMMAND...
as() {
    local user=$1
    shift
    if [ "$(id -u)" = 0 ]; then setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups "$@"; else "$@"; fi
}

# serve COMMAND...: in the background, in a process group of its own, until it is up; server.log
server=
port=
serve() {
    : > server.log # now: not when the background job comes to it
    setsid "$@" >> server.log 2>&1 < /dev/null &
    server=$!
    wait_for 20 up_or_gone
    kill -0 $server 2> /dev/null && up
}
up() { listening "$port"; }
up_or_gone() { ! kill -0 "$server" 2> /dev/null || up; }
gone() { ! kill -0 -- -"$server" 2> /dev/null; }
finish() {
    [ -n "$server" ] || return 0
    kill "$server" 2> /dev/null
    wait_for 5 gone || kill -9 -- -"$server" 2> /dev/null
    wait "$server" 2> /dev/null
    server=
}
trap finish EXIT
children() { pgrep -P "$server" -x "$1"; }
# why: what the server said of us, where a check failed
why() { [ $failures = 0 ] || grep -h pkcs11 server.log; }

# handshake KEY ARGUMENTS...: with the server on $port, which must show the certificate of KEY
handshake() {
    local key=$1
    shift
    local status=0
    echo Q | plain timeout 20 openssl s_client -connect "127.0.0.1:$port" -CAfile ca.crt -verify_return_error \
        -verify_hostname localhost "$@" > shake.log 2>&1 || status=$?
    cat shake.log
    # a handshake that ends after the certificate has been verified is none
    [ $status = 0 ] && ! grep -q "Cipher is (NONE)" shake.log &&
        grep -q "Verification: OK" shake.log && grep -qE "^subject=CN ?= ?$key\$" shake.log
}
# handshakes NAME KEY ARGUMENTS...: TLS 1.2 and 1.3
handshakes() {
    local name=$1 key=$2 version
    shift 2
    for version in tls1_2 tls1_3; do ok "$name, $version" handshake "$key" "-$version" "$@"; done
}
# started NAME COMMAND...: a check of its own
started() {
    local name=$1
    shift
    checks=$((checks + 1))
    serve "$@" && return 0
    failures=$((failures + 1))
    echo "FAILED: $name: the server did not start"
    sed 's/^/    /' server.log | tail -15
    finish
    return 1
}

# behind_daemon SOCKET GROUP: p11-kit server has the token; root and GROUP reach it at SOCKET by p11-kit's client module,
# which behind.cnf names. Fails where that is not installed
daemon=
behind_daemon() {
    local client
    client=$(ls /usr/lib/*/pkcs11/p11-kit-client.so 2> /dev/null | head -1)
    [ -n "$client" ] && command -v p11-kit > /dev/null || { echo "no p11-kit-client.so: package p11-kit-modules"; return 1; }
    rm -f "$1"
    setsid env -u OPENSSL_CONF p11-kit server --foreground --name "$1" --provider "$PKCS11_MODULE" pkcs11: > daemon.log 2>&1 < /dev/null &
    daemon=$!
    wait_for 5 test -S "$1" || { cat daemon.log; die "p11-kit server did not start"; }
    chgrp "$2" "$1"
    chmod 770 "$1"
    configure behind.cnf << CNF
pkcs11-module-path = $client
pkcs11-module-load-behavior = early
pkcs11-module-token-pin = $(cat pin)
CNF
    chmod 600 behind.cnf # it has the PIN, because no file of that is in a chroot
}
end_daemon() {
    [ -z "$daemon" ] || kill -- -"$daemon" 2> /dev/null
    wait "$daemon" 2> /dev/null
    daemon=
}
