/* SPDX-License-Identifier: MIT */
/* What every tool of the benches does: it gives up, and looks at the clock. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline void die(const char *what)
{
	perror(what);
	exit(1);
}

static inline long long clock_ns(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* CLOCK_MONOTONIC. */
static inline long long now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}
