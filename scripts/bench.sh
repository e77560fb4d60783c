#!/bin/sh
# npm run bench [-- --only datapath,nat,programs,cni,scale,start --rounds n --json ...]: what the product costs, beside
# what others cost on this machine at the same time. docs/benchmarks.md says how it is measured.
set -eu
. "$(dirname "$0")/setup.sh"

setup build bench
exec_as_root "$(command -v node)" "$ROOT/scripts/bench/main.mjs" "$@"
