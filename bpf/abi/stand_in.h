/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What two copies of a program at one hook tell each other of the packet that passes both. */
#pragma once

#include "types.h"

/* At which hook a copy has judged. */
enum stand_in_hook {
	STAND_IN_NONE,
	STAND_IN_FROM_CONTAINER,
	STAND_IN_TO_CONTAINER,
	STAND_IN_FROM_UPLINK,
};

/* The one value of qn_stand_in, on each CPU: the packet that was let go on last. */
struct stand_in {
	__u32 number_low; /* 0, as all of it: none, or the other copy has seen it */
	__u32 number_high;
	__u32 ifindex;
	__u32 hook; /* enum stand_in_hook */
};
