// SPDX-License-Identifier: MIT
/* Registration of the BPF half. */
#include "bpf_addon.h"

#include "bpf_fs.h"
#include "bpf_log.h"
#include "bpf_resources.h"

#include <bpf/libbpf.h>
#include <ctime>

static Napi::Value possible_cpus(const Napi::CallbackInfo &info)
{
	return Napi::Number::New(info.Env(), check(libbpf_num_possible_cpus(), "count", "possible CPUs"));
}

static Napi::Value monotonic_ns(const Napi::CallbackInfo &info)
{
	timespec now;
	check_errno(clock_gettime(CLOCK_MONOTONIC, &now), "read", "monotonic clock");
	return Napi::BigInt::New(info.Env(), int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec);
}

void init_bpf(Napi::Env env, Napi::Object exports)
{
	install_log_capture();
	init_bpf_resources(env, exports);
	init_bpf_fs(env, exports);
	init_bpf_object(env, exports);
	init_bpf_program(env, exports);
	init_bpf_map(env, exports);
	init_bpf_map_batch(env, exports);
	init_bpf_link(env, exports);
	init_bpf_clsact(env, exports);
	init_bpf_ringbuf(env, exports);
	define<possible_cpus>(env, exports, "possibleCpus");
	define<monotonic_ns>(env, exports, "monotonicNs");
}
