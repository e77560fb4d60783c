#!/bin/sh
# npm run demo: a network, three containers and a policy in a minute, on a node of its own; leaves nothing behind.
set -eu
. "$(dirname "$0")/setup.sh"

setup build
exec_as_root "$(command -v node)" "$ROOT/scripts/demo.mjs" "$@"
