#!/bin/sh
# npm start [-- --flag value ...]: builds what has changed and runs the daemon in the foreground.
set -eu
. "$(dirname "$0")/setup.sh"

setup build
# A small young generation: the daemon makes little garbage, and the default keeps 30 MB more of it in memory.
exec_as_root "$(command -v node)" --max-semi-space-size=2 "$ROOT/dist/bin/quantum-api.js" "$@"
