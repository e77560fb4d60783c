# Sourced by the other scripts (POSIX sh). Makes a clone ready: packages, npm modules, build.
#
#   . scripts/setup.sh        defines ROOT and the functions below
#   setup build [test ...]    which lines of packages.txt are needed
#   exec_as_root COMMAND ...  becomes that command, as root, with the QUANTUM_* variables
#
# What is built belongs to the owner of the clone; only apt-get and exec_as_root need root.
# Everything can be repeated; a second time nothing is installed or built.

ROOT=$(cd "$(dirname "$0")/.." && pwd)
SETUP_LOG=$ROOT/.cache/setup.log
# Debian keeps bpftool, ip and nft there, which is not in an ordinary user's PATH.
PATH=$PATH:/usr/sbin:/sbin

setup() {
	as_owner mkdir -p "$ROOT/.cache"
	as_owner sh -c ': > "$1"' sh "$SETUP_LOG"
	setup_node_version
	setup_packages "$@"
	setup_npm
	setup_step "building (what has changed)" as_owner node "$ROOT/scripts/build.mjs" --quiet
	setup_kernel
}

say() {
	printf 'setup: %s\n' "$*" >&2
}

give_up() {
	say "$*"
	exit 1
}

# Runs a command with its output in the log; says which step failed and shows the end of the log.
setup_step() {
	setup_what=$1
	shift
	say "$setup_what"
	"$@" >>"$SETUP_LOG" 2>&1 </dev/null || {
		setup_status=$?
		tail -n 40 "$SETUP_LOG" >&2
		give_up "failed: $setup_what (exit $setup_status; the whole log is $SETUP_LOG)"
	}
}

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		give_up "this needs root, and there is no sudo: run it as root"
	fi
}

# sudo clears the environment and has a PATH of its own, so both are handed over explicitly. exec, because
# whoever stops the script means the command.
exec_as_root() {
	[ "$(id -u)" = 0 ] && exec "$@"
	as_root true
	for setup_name in $(env | sed -n 's/^\(QUANTUM_[A-Z0-9_]*\)=.*/\1/p'); do
		eval "set -- \"$setup_name=\$$setup_name\" \"\$@\""
	done
	exec sudo env "PATH=$PATH" "$@"
}

# Root in somebody else's clone (`sudo npm start`) builds as that somebody.
as_owner() {
	setup_owner=$(stat -c %U "$ROOT")
	if [ "$(id -u)" = 0 ] && [ "$setup_owner" != root ] && id "$setup_owner" >/dev/null 2>&1; then
		runuser -u "$setup_owner" -- env "HOME=$(getent passwd "$setup_owner" | cut -d: -f6)" "$@"
	else
		"$@"
	fi
}

setup_node_version() {
	command -v node >/dev/null || give_up "Node.js is missing: install version 20.11 or newer (https://nodejs.org)"
	setup_version=$(node --version)
	setup_major=${setup_version#v} setup_minor=${setup_version#v*.}
	setup_major=${setup_major%%.*} setup_minor=${setup_minor%%.*}
	[ "$setup_major" -gt 20 ] || { [ "$setup_major" -eq 20 ] && [ "$setup_minor" -ge 11 ]; } ||
		give_up "Node.js is $setup_version: install version 20.11 or newer (https://nodejs.org)"
}

# Names the packages, of the lines that are wanted, whose proof fails.
setup_missing_packages() {
	while read -r setup_when setup_package setup_proof; do
		case " $* " in *" $setup_when "*) ;; *) continue ;; esac
		case $setup_proof in
		pkg:*) pkg-config --exists "${setup_proof#pkg:}" 2>/dev/null ;;
		/*) [ -e "$setup_proof" ] ;;
		*) command -v "$setup_proof" >/dev/null ;;
		esac || printf '%s ' "$setup_package"
	done <"$ROOT/scripts/packages.txt"
}

setup_packages() {
	setup_missing=$(setup_missing_packages "$@")
	[ -n "$setup_missing" ] || return 0
	command -v apt-get >/dev/null ||
		give_up "missing: $setup_missing(Debian's names). There is no apt-get here: install them and start again"
	[ "$(id -u)" = 0 ] || command -v sudo >/dev/null ||
		give_up "missing: $setup_missing(there is no sudo here: install them as root, or run this as root)"
	as_root true # asks for the password while its prompt can be seen
	# The list comes from our own file: splitting it into words is meant.
	# shellcheck disable=SC2086
	setup_step "installing $setup_missing" setup_apt $setup_missing
	setup_missing=$(setup_missing_packages "$@")
	[ -z "$setup_missing" ] || give_up "still missing after the installation: $setup_missing"
}

# Package lists may be absent (fresh machine) or too old: then they are fetched, and only then.
setup_apt() {
	setup_apt_install "$@" || { as_root apt-get -q update && setup_apt_install "$@"; }
}

# A fresh machine often updates itself in the background and holds the lock meanwhile.
setup_apt_install() {
	as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get -q -y -o DPkg::Lock::Timeout=600 install --no-install-recommends "$@"
}

# npm writes its own copy of the lockfile last, so an interrupted installation is not taken for a finished one.
setup_npm() {
	[ -e "$ROOT/node_modules/.package-lock.json" ] &&
		[ ! "$ROOT/package-lock.json" -nt "$ROOT/node_modules/.package-lock.json" ] && return
	setup_step "installing npm modules" as_owner npm --prefix "$ROOT" ci --no-audit --no-fund --ignore-scripts
}

setup_kernel() {
	[ -e /sys/kernel/btf/vmlinux ] ||
		say "note: the kernel $(uname -r) has no BTF (/sys/kernel/btf/vmlinux): traces and bpftool show less"
}
