// SPDX-License-Identifier: MIT
/* How much of what the process frees the C library keeps. */
#include "status.h"

#include <malloc.h>

/* Both are what they are at first (mallopt(3)). */
static constexpr int MMAP_THRESHOLD = 128 * 1024;
static constexpr int TRIM_THRESHOLD = 128 * 1024;

/*
 * libbpf reads the types of the whole kernel into memory for some of the programs that it loads, 11 MB, and
 * frees them. With the first such block glibc raises both thresholds to that size, and then keeps as much in
 * the heap of each thread that has loaded a program. A threshold that is set does not move.
 */
static Napi::Value return_freed_memory(const Napi::CallbackInfo &info)
{
	if (!mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD) || !mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD))
		throw Failure{EINVAL, "set", "thresholds of malloc"};
	return info.Env().Undefined();
}

void init_memory(Napi::Env env, Napi::Object exports)
{
	define<return_freed_memory>(env, exports, "returnFreedMemory");
}
