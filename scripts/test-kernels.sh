#!/bin/sh
# npm run test:kernels [-- name ...]: boots the kernels of vagrant/kernels.txt in QEMU (software emulation, no
# root) and runs the daemon in them. The last line is `N passed, N failed, N skipped`.
set -eu
. "$(dirname "$0")/setup.sh"

setup build kernels
exec node "$ROOT/scripts/kernels/main.mjs" "$@"
