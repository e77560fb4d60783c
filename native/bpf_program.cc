// SPDX-License-Identifier: MIT
/* Loaded programs: info, test runs, run statistics. */
#include "bpf_addon.h"

#include "args.h"
#include "async.h"
#include "bpf_resources.h"

#include <algorithm>
#include <cstring>

namespace
{

/* A program uses at most this many maps (MAX_USED_MAPS in the kernel). */
constexpr uint32_t MAPS_MAX = 64;

Napi::Value program_from_pin(const Napi::CallbackInfo &info)
{
	return wrap_resource(info.Env(), make_program(open_pin(to_text(info[0], "path"), Program::NAME)));
}

std::string hex(std::span<const uint8_t> bytes)
{
	static constexpr char DIGITS[] = "0123456789abcdef";
	std::string text;
	for (uint8_t byte : bytes) {
		text += DIGITS[byte >> 4];
		text += DIGITS[byte & 15];
	}
	return text;
}

Napi::Value program_info(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	uint32_t maps[MAPS_MAX];
	bpf_prog_info kernel = {};
	kernel.nr_map_ids = MAPS_MAX;
	kernel.map_ids = reinterpret_cast<uintptr_t>(maps);
	uint32_t size = sizeof(kernel);
	check(bpf_obj_get_info_by_fd(resource<Program>(info, 0)->fd.get(), &kernel, &size), "read info of",
	      "program");

	auto map_ids = Napi::Array::New(env);
	for (uint32_t i = 0; i < std::min(kernel.nr_map_ids, MAPS_MAX); i++)
		map_ids.Set(i, maps[i]);
	auto result = Napi::Object::New(env);
	result.Set("id", kernel.id);
	result.Set("type", kernel.type);
	result.Set("name", std::string(kernel.name, strnlen(kernel.name, sizeof(kernel.name))));
	result.Set("tag", hex(kernel.tag));
	result.Set("loadedAt", Napi::BigInt::New(env, uint64_t{kernel.load_time}));
	result.Set("runTimeNs", Napi::BigInt::New(env, uint64_t{kernel.run_time_ns}));
	result.Set("runCount", Napi::BigInt::New(env, uint64_t{kernel.run_cnt}));
	result.Set("mapIds", map_ids);
	return result;
}

/* arguments: id. Of whoever's program; undefined: there is none by that number. */
Napi::Value program_name(const Napi::CallbackInfo &info)
{
	uint32_t id = to_u32(info[0], "id");
	int opened = bpf_prog_get_fd_by_id(id);
	if (opened == -ENOENT)
		return info.Env().Undefined();
	UniqueFd fd(check(opened, "open", "program " + std::to_string(id)));
	auto kernel = info_of<bpf_prog_info>(fd.get(), "program");
	return Napi::String::New(info.Env(), kernel.name, strnlen(kernel.name, sizeof(kernel.name)));
}

struct TestRun {
	std::shared_ptr<Program> program;
	std::vector<uint8_t> data, context, data_out;
	bool has_context;
	uint32_t repeat, flags;
	uint32_t return_value = 0, duration = 0;
};

/* arguments: program, data?, context?, repeat, dataOutSize, flags */
TestRun read_test_run(const Napi::CallbackInfo &info)
{
	TestRun run = {};
	run.program = resource<Program>(info, 0);
	if (is_set(info[1])) {
		Bytes data = to_bytes(info[1], "data");
		run.data.assign(data.begin(), data.end());
	}
	run.has_context = is_set(info[2]);
	if (run.has_context) {
		Bytes context = to_bytes(info[2], "context");
		run.context.assign(context.begin(), context.end());
	}
	run.repeat = to_u32(info[3], "repeat");
	run.data_out.resize(to_u32(info[4], "dataOutSize"));
	run.flags = to_u32(info[5], "flags");
	return run;
}

void test_run(TestRun &run)
{
	LIBBPF_OPTS(bpf_test_run_opts, options);
	options.ctx_in = run.has_context ? run.context.data() : nullptr;
	options.ctx_size_in = run.context.size();
	options.flags = run.flags;
	/*
	 * Programs of these types know neither data nor repeat. Those of type syscall answer in ctx_in
	 * itself, raw tracepoints only by their return value.
	 */
	if (run.program->type != BPF_PROG_TYPE_SYSCALL && run.program->type != BPF_PROG_TYPE_RAW_TRACEPOINT) {
		options.data_in = run.data.empty() ? nullptr : run.data.data();
		options.data_size_in = run.data.size();
		options.repeat = run.repeat;
		/* Frames that are sent on are not there to be read. */
		if (!(run.flags & BPF_F_TEST_XDP_LIVE_FRAMES)) {
			options.data_out = run.data_out.empty() ? nullptr : run.data_out.data();
			options.data_size_out = run.data_out.size();
			options.ctx_out = run.has_context ? run.context.data() : nullptr;
			options.ctx_size_out = run.context.size();
		}
	}
	check(bpf_prog_test_run_opts(run.program->fd.get(), &options), "test run", "program");
	run.data_out.resize(std::min<size_t>(options.data_size_out, run.data_out.size()));
	run.return_value = options.retval;
	run.duration = options.duration;
}

Napi::Value test_run_result(Napi::Env env, TestRun &run)
{
	auto result = Napi::Object::New(env);
	result.Set("returnValue", run.return_value);
	result.Set("dataOut", from_vector(env, std::move(run.data_out)));
	result.Set("contextOut", from_vector(env, std::move(run.context)));
	result.Set("durationNs", run.duration);
	return result;
}

Napi::Value program_test_run(const Napi::CallbackInfo &info)
{
	TestRun run = read_test_run(info);
	test_run(run);
	return test_run_result(info.Env(), run);
}

Napi::Value program_test_run_async(const Napi::CallbackInfo &info)
{
	auto run = std::make_shared<TestRun>(read_test_run(info));
	return run_async<std::shared_ptr<TestRun>>(
	    info.Env(),
	    [run] {
		    test_run(*run);
		    return run;
	    },
	    [](Napi::Env env, std::shared_ptr<TestRun> &done) { return test_run_result(env, *done); });
}

/* The kernel counts while this descriptor is open. */
Napi::Value enable_run_statistics(const Napi::CallbackInfo &info)
{
	UniqueFd fd(check(bpf_enable_stats(BPF_STATS_RUN_TIME), "enable", "run statistics"));
	return wrap_resource(info.Env(), Statistics{std::move(fd)});
}

} // namespace

void init_bpf_program(Napi::Env env, Napi::Object exports)
{
	define<program_from_pin>(env, exports, "programFromPin");
	define<program_info>(env, exports, "programInfo");
	define<program_name>(env, exports, "programName");
	define<program_test_run>(env, exports, "programTestRun");
	define<program_test_run_async>(env, exports, "programTestRunAsync");
	define<enable_run_statistics>(env, exports, "enableRunStatistics");
}
