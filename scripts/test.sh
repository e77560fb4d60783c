#!/bin/sh
# npm test [-- file ... | -t name | --project kernel ...]: all tests, or those that vitest's arguments select.
# The last line is `N passed, N failed, N skipped` (test/support/reporter.ts).
set -eu
. "$(dirname "$0")/setup.sh"

setup build test
cd "$ROOT"
# Namespaces, programs and maps need root.
exec_as_root "$(command -v node)" node_modules/vitest/vitest.mjs run "$@"
