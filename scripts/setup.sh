#!/bin/sh
# Installs the programs that instances and tests run, where they are missing.
#
#   scripts/setup.sh [-yes] [-test]
#
#   -yes    do not ask
#   -test   also what only tests need; fail if something stays missing
#
# It is silent if nothing is missing. Debian's packages are used, as root; who
# is not root, or has another system, is told what to install. No service is
# started. SETUP_ROOT is put before the paths of the system's own files (tests).
set -eu

yes='' test=''
for arg; do
	case $arg in
	-yes) yes=1 ;;
	-test) test=1 ;;
	*)
		echo "setup: unknown argument $arg: there are -yes and -test" >&2
		exit 2
		;;
	esac
done
root=${SETUP_ROOT:-}

# have NAME...: is one of these programs there? Servers are not in everybody's PATH.
have() {
	for name; do
		command -v "$name" >/dev/null 2>&1 && return 0
		for dir in /usr/local/sbin /usr/sbin /sbin; do
			[ -x "$root$dir/$name" ] && return 0
		done
	done
	return 1
}

# there PATTERN: is a file of a package there?
there() {
	for file in "$root"$1; do
		[ ! -e "$file" ] || return 0
	done
	return 1
}

# find_missing sets programs and packages to what is missing.
find_missing() {
	programs='' packages=''
	have git || missing git git
	have php-fpm php-fpm8.5 php-fpm8.4 php-fpm8.3 php-fpm8.2 php-fpm8.1 php-fpm8.0 || missing php-fpm php-fpm
	have nginx || missing nginx nginx-light
	have python3 || missing python3 python3
	have java || missing java default-jre-headless
	there /usr/share/tomcat10/lib/catalina.jar || missing tomcat tomcat10-user
	there '/usr/lib/php/*/mysqli.so' || missing php-mysql php-mysql
	have mariadbd || missing mariadbd mariadb-server
	have bwrap || missing bwrap bubblewrap
	# The race detector is linked by a C compiler.
	[ -z "$test" ] || have gcc clang || missing gcc 'gcc libc6-dev'
	# Tests cut machines off from each other in network namespaces.
	[ -z "$test" ] || have ip || missing ip iproute2
	[ -z "$test" ] || there /usr/share/wordpress/wp-content/themes/twentytwentythree/theme.json ||
		missing wordpress 'wordpress wordpress-theme-twentytwentythree php-gd php-xml php-mbstring php-curl'
	[ -z "$test" ] || there /usr/share/java/mariadb-java-client.jar || missing mariadb-java-client libmariadb-java
	[ -z "$test" ] || have redis-server || missing redis-server redis-server
	[ -z "$test" ] || there /usr/share/tomcat10-examples/examples/index.html || missing tomcat-examples tomcat10-examples
}

missing() {
	programs="$programs $1" packages="$packages $2"
}

# stay ends the script with what is still missing: the tests need it all, a
# platform goes on with what is there.
stay() {
	[ -n "$test" ] || exit 0
	echo "setup: the tests need these programs:$programs" >&2
	exit 1
}

# confirm asks, unless nobody needs to be asked, or is there to answer.
confirm() {
	[ -z "$yes" ] || return 0
	if ! [ -t 0 ]; then
		echo "setup: nobody to ask; run scripts/setup.sh -yes to install" >&2
		return 1
	fi
	printf 'Install now? [Y/n] ' >&2
	read -r answer || return 1
	case $answer in '' | y* | Y*) return 0 ;; esac
	return 1
}

# Packages of servers start them when they are installed, unless this file says
# no. One that is there is somebody's, and is left alone.
policy=$root/usr/sbin/policy-rc.d
ours=''
forbid_services() {
	[ ! -e "$policy" ] || return 0
	ours=1
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
}
allow_services() {
	[ -z "$ours" ] || rm -f "$policy"
	ours=''
}

apt() {
	DEBIAN_FRONTEND=noninteractive apt-get "$@" </dev/null >&2
}

install_packages() {
	set -- install -y --no-install-recommends $packages
	fresh=''
	if ! ls "$root"/var/lib/apt/lists/*_Packages* >/dev/null 2>&1; then
		apt update || true # what is known already may do
		fresh=1
	fi
	apt "$@" && return 0
	[ -z "$fresh" ] || return 1
	apt update && apt "$@" # the lists were too old
}

find_missing
[ -n "$programs" ] || exit 0

line="apt-get install -y --no-install-recommends$packages"
echo "setup: missing:$programs" >&2
if ! command -v apt-get >/dev/null 2>&1; then
	echo "setup: install them with this system's package manager (Debian's packages:$packages)" >&2
	stay
fi
if [ "$(id -u)" != 0 ]; then
	become=''
	if command -v sudo >/dev/null 2>&1; then become='sudo '; else echo 'setup: as root:' >&2; fi
	echo "  $become$line" >&2
	stay
fi
echo "  $line" >&2
confirm || stay

trap allow_services EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
forbid_services
install_packages || echo 'setup: the installation did not succeed, see above' >&2
find_missing
[ -z "$programs" ] || stay
