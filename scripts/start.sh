#!/bin/sh
# npm start [-- --flag value ...]: builds what has changed and runs the daemon in the foreground.
set -eu
. "$(dirname "$0")/setup.sh"

setup build
exec_as_root "$(command -v node)" "$ROOT/dist/bin/quantum-api.js" "$@"
