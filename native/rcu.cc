// SPDX-License-Identifier: MIT
/*
 * Waits until every BPF program that is running now has ended. Programs run inside RCU read-side sections,
 * and membarrier(MEMBARRIER_CMD_GLOBAL) is the system call that is one synchronize_rcu() (membarrier(2)).
 */
#include "async.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

static Napi::Value wait_for_programs(const Napi::CallbackInfo &info)
{
	return run_async<int>(
	    info.Env(),
	    [] {
		    return static_cast<int>(check_errno(syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0),
							"wait for", "running programs"));
	    },
	    [](Napi::Env env, int &) { return env.Undefined(); });
}

void init_rcu(Napi::Env env, Napi::Object exports)
{
	define<wait_for_programs>(env, exports, "waitForPrograms");
}
