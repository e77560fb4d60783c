// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * The maps alone. Programs that are loaded side by side find them here already; else each would make its own
 * of every map, and keep the first that is pinned.
 */
#include "maps/maps.h"

char _license[] SEC("license") = "Dual MIT/GPL";
