#!/usr/bin/env bash
# Installs the programs that tests run unmodified inside simulations, as far as this machine lets it.
# Never fails: a test whose program is missing is skipped, and says so.
set -uo pipefail
root="$(cd "$(dirname "$0")/.." && pwd)"

missing=()
servers=()
need() { # PROGRAM PACKAGE
    command -v "$1" >/dev/null || missing+=("$2")
}
need_server() { # PROGRAM PACKAGE
    PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null || servers+=("$2")
}
need ab apache2-utils
need aria2c aria2
need bash bash
need busybox busybox-static
need curl curl
need dig bind9-dnsutils
need erl erlang-base
need go golang-go # builds the static program that is not C
need java default-jre-headless
need nmap nmap
need mosquitto_pub mosquitto-clients
need nc.openbsd netcat-openbsd
need node nodejs
need openssl openssl
need perl perl
need php php-cli
need ping iputils-ping
need rsync rsync
need ruby ruby
need rustc rustc
need socat socat
need ssh openssh-client
need script bsdutils
need tcpdump tcpdump
need tmux tmux
need tshark tshark
need wget wget
need wrk wrk
need_server apache2 apache2-bin
need_server bird bird2
need_server chronyd chrony
need_server dnsmasq dnsmasq-base
need_server etcd etcd-server
need_server etcdctl etcd-client
need_server haproxy haproxy
need_server iperf3 iperf3
need_server knotd knot
need_server lighttpd lighttpd
need_server mariadb mariadb-client
need_server mariadbd mariadb-server
need_server memcached memcached
need_server mosquitto mosquitto
need_server nats-server nats-server
need_server nginx nginx-light
need_server opentracker opentracker
need_server prosody prosody
need_server psql postgresql-client
need_server redis-server redis-server
need_server squid squid
need_server sshd openssh-server
need_server stunnel4 stunnel4
need_server tor tor
need_server unbound unbound
need_server vsftpd vsftpd
# Not on the search path.
[ -e /usr/share/java/zookeeper.jar ] || missing+=(libzookeeper-java)
compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || need_server postgres postgresql

# One by one if not together: a package that this release lacks must not keep the others away.
install() { # [--no-start] PACKAGE...
    local option=()
    if [ "$1" = --no-start ]; then
        option=("$1")
        shift
    fi
    if ! "$root/tools/apt-install.sh" "${option[@]}" "$@"; then
        for package in "$@"; do
            "$root/tools/apt-install.sh" "${option[@]}" "$package" ||
                echo "tests that need $package will be skipped" >&2
        done
    fi
}

if [ ${#missing[@]} -gt 0 ]; then
    install "${missing[@]}"
fi
# Debian's own npm brings hundreds of packages along: only where there is one.
if command -v npm >/dev/null; then
    npm ci --prefix "$root/tests/npm" --ignore-scripts --no-audit --no-fund --silent ||
        echo "tests that need packages from npm will be skipped" >&2
fi
# Not all at once: a package without a wheel for this machine must not keep the others away.
while read -r package; do
    python -m pip install --quiet --disable-pip-version-check "$package" ||
        echo "tests that need Python's $package will be skipped" >&2
done < <(grep -v '^#' "$root/tests/python-packages.txt")
if [ ${#servers[@]} -eq 0 ]; then
    exit 0
elif [ -d /run/systemd/system ]; then
    # Not on somebody's machine, where they would start with it from now on. A container has no such system.
    echo "tests that need these will be skipped, unless you install them: ${servers[*]}" >&2
else
    install --no-start "${servers[@]}"
fi
