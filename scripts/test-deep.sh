#!/bin/sh
# npm run test:deep: oracle, compiler and loaded programs must agree on every packet of many random policies, IPv4 and
# IPv6. QUANTUM_TEST_SETS (default 10000) sets of policies, QUANTUM_TEST_PACKETS (100) packets each;
# QUANTUM_TEST_SEED repeats a run. The seed and, when they disagree, the smallest counterexample are printed. And nothing
# may be left after QUANTUM_CHAOS_ROUNDS (500) rounds of containers under fire; QUANTUM_CHAOS_SEED repeats those. The last
# line is `N passed, N failed, N skipped`.
set -eu
. "$(dirname "$0")/setup.sh"

: "${QUANTUM_TEST_SETS:=10000}" "${QUANTUM_TEST_PACKETS:=100}" "${QUANTUM_CHAOS_ROUNDS:=500}"
export QUANTUM_TEST_SETS QUANTUM_TEST_PACKETS QUANTUM_CHAOS_ROUNDS

setup build test
cd "$ROOT"
# Programs, maps and runtimes need root.
exec_as_root "$(command -v node)" node_modules/vitest/vitest.mjs run \
	test/kernel/policy-proof.test.ts test/chaos/leaks.test.ts test/runtime/leaks.test.ts "$@"
