# Completion of pkcs11-bridge for bash. tests/apps/command compares it with --help.
_pkcs11_bridge() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local common="--json --config --module --help"
    local -A options=(
        [doctor]="--as-user --cert --server --trace"
        [list]=""
        [show]=""
        [pem]="--out --pin-file --with-pin"
        [keygen]="--type --usage --add"
        [csr]="--subject --san --digest --out"
        [import-cert]="--without-key"
        [import-key]="--type --only-wrapped --plain --extractable --add"
        [wrap]="--with --out --mechanism --raw"
        [unwrap]="--with --as --mechanism --type --public --extractable --add"
        [delete]="--yes"
        [pin]="--new --in"
        [health]="--max-latency"
        [bench]="--threads --seconds"
        [conf]=""
        [metrics]="--textfile --listen"
        [audit]=""
    )
    case $before in
        --config | --module | --out | --pin-file | --cert | --public | --new | --in | --textfile) mapfile -t COMPREPLY < <(compgen -f -- "$word") && return ;;
        --server) mapfile -t COMPREPLY < <(compgen -W "apache dovecot haproxy lighttpd nginx postfix stunnel" -- "$word") && return ;;
        --as-user) mapfile -t COMPREPLY < <(compgen -u -- "$word") && return ;;
    esac
    if [ "$COMP_CWORD" = 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "${!options[*]} --help --version" -- "$word")
    elif [[ $word = -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "${options[${COMP_WORDS[1]}]:-} $common" -- "$word")
    else
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    fi
}
complete -o filenames -F _pkcs11_bridge pkcs11-bridge
