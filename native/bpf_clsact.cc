// SPDX-License-Identifier: MIT
/* Filters of the clsact queueing discipline, for kernels without TCX. Ours is known by its priority and
 * handle. */
#include "bpf_addon.h"

#include "args.h"
#include "bpf_resources.h"

#include <bpf/libbpf.h>

namespace
{

struct Place {
	bpf_tc_hook hook;
	bpf_tc_opts filter;
	std::string text;
};

/* arguments from `index` on: ifindex, ingress, handle, priority */
Place read_place(const Napi::CallbackInfo &info, size_t index)
{
	Place place = {};
	place.hook.sz = sizeof(place.hook);
	place.hook.ifindex = to_u32(info[index], "ifindex");
	bool ingress = info[index + 1].ToBoolean();
	place.hook.attach_point = ingress ? BPF_TC_INGRESS : BPF_TC_EGRESS;
	place.filter.sz = sizeof(place.filter);
	place.filter.handle = to_u32(info[index + 2], "handle");
	place.filter.priority = to_u32(info[index + 3], "priority");
	if (place.filter.handle == 0 || place.filter.priority == 0 || place.filter.priority > UINT16_MAX)
		throw Napi::RangeError::New(info.Env(), "handle must not be 0, priority must be 1 to 65535");
	place.text =
	    std::string(ingress ? "ingress" : "egress") + " of ifindex " + std::to_string(place.hook.ifindex);
	return place;
}

/* No filter (ENOENT), or not even the queueing discipline (EINVAL). */
bool is_absent(int result)
{
	return result == -ENOENT || result == -EINVAL;
}

/* arguments: program, place. The filter is replaced in one step by the kernel if it is there. */
Napi::Value clsact_attach(const Napi::CallbackInfo &info)
{
	int program = resource<Program>(info, 0)->fd.get();
	Place place = read_place(info, 1);
	if (int result = bpf_tc_hook_create(&place.hook); result != -EEXIST)
		check(result, "make clsact for", place.text);
	place.filter.prog_fd = program;
	place.filter.flags = BPF_TC_F_REPLACE;
	check(bpf_tc_attach(&place.hook, &place.filter), "attach clsact filter at", place.text);
	return info.Env().Undefined();
}

/* false: there was none. The queueing discipline stays: others may use it, and it costs nothing. */
Napi::Value clsact_detach(const Napi::CallbackInfo &info)
{
	Place place = read_place(info, 0);
	int result = bpf_tc_detach(&place.hook, &place.filter);
	if (!is_absent(result))
		check(result, "detach clsact filter at", place.text);
	return Napi::Boolean::New(info.Env(), result == 0);
}

/* The program's id, or undefined. */
Napi::Value clsact_query(const Napi::CallbackInfo &info)
{
	Place place = read_place(info, 0);
	int result = bpf_tc_query(&place.hook, &place.filter);
	if (is_absent(result))
		return info.Env().Undefined();
	check(result, "query clsact filter at", place.text);
	return Napi::Number::New(info.Env(), place.filter.prog_id);
}

} // namespace

void init_bpf_clsact(Napi::Env env, Napi::Object exports)
{
	define<clsact_attach>(env, exports, "clsactAttach");
	define<clsact_detach>(env, exports, "clsactDetach");
	define<clsact_query>(env, exports, "clsactQuery");
}
