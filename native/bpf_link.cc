// SPDX-License-Identifier: MIT
/* BPF links: TCX, XDP and cgroups. Interfaces are those of the calling thread's network namespace. */
#include "bpf_addon.h"

#include "args.h"
#include "bpf_resources.h"

#include <cstring>
#include <fcntl.h>
#include <linux/if_link.h>
#include <sys/syscall.h>

namespace
{

/*
 * The kernel's numbers since 6.6 (include/uapi/linux/bpf.h); the headers of libbpf 1.1 are older. In struct
 * bpf_link_info, tcx is {ifindex, attach_type} at the place of xdp's {ifindex}.
 */
constexpr auto TCX_INGRESS = static_cast<bpf_attach_type>(46);
constexpr auto TCX_EGRESS = static_cast<bpf_attach_type>(47);
constexpr uint32_t LINK_TYPE_CGROUP = 3, LINK_TYPE_XDP = 6, LINK_TYPE_TCX = 11;
constexpr uint32_t POSITION_BEFORE = 1U << 3, POSITION_AFTER = 1U << 4; /* BPF_F_BEFORE, BPF_F_AFTER */

struct TcxInfo {
	uint32_t ifindex, attach_type;
};
static_assert(offsetof(bpf_link_info, xdp.ifindex) == 16);

/* As many as the kernel lets stand at one place (BPF_MPROG_MAX). */
constexpr uint32_t STANDING_MAX = 64;

/* union bpf_attr of BPF_PROG_QUERY since 6.6, which libbpf 1.1 knows without the links. */
struct QueryAttributes {
	uint32_t ifindex, attach_type, query_flags, attach_flags;
	uint64_t program_ids;
	uint32_t count, padding;
	uint64_t program_attach_flags, link_ids, link_attach_flags, revision;
};
static_assert(sizeof(QueryAttributes) == 64);

/* Kernels without TCX do not know the attach type: EINVAL, whatever the interface. */
bool tcx_supported()
{
	uint32_t count = 0;
	constexpr int LOOPBACK = 1;
	int result = bpf_prog_query(LOOPBACK, TCX_INGRESS, 0, nullptr, nullptr, &count);
	if (result == -EPERM)
		check(result, "query", "TCX");
	return result != -EINVAL;
}

Napi::Value tcx_supported_value(const Napi::CallbackInfo &info)
{
	return Napi::Boolean::New(info.Env(), tcx_supported());
}

/*
 * arguments: ifindex, ingress. An array of {programId, linkId}, in the order in which they run; linkId 0:
 * attached without a link. Opens nothing.
 */
Napi::Value tcx_line(const Napi::CallbackInfo &info)
{
	uint32_t programs[STANDING_MAX] = {}, links[STANDING_MAX] = {};
	QueryAttributes query = {};
	query.ifindex = to_u32(info[0], "ifindex");
	query.attach_type = info[1].ToBoolean() ? TCX_INGRESS : TCX_EGRESS;
	query.program_ids = reinterpret_cast<uintptr_t>(programs);
	query.link_ids = reinterpret_cast<uintptr_t>(links);
	query.count = STANDING_MAX;
	auto line = Napi::Array::New(info.Env());
	if (syscall(SYS_bpf, BPF_PROG_QUERY, &query, sizeof(query)) != 0) {
		int error = errno;
		/* ENOENT: nothing was ever attached there. Others: the kernel has no TCX. */
		if (error == ENOENT || ((error == EINVAL || error == E2BIG) && !tcx_supported()))
			return line;
		check(-error, "query TCX at", "ifindex " + std::to_string(query.ifindex));
	}
	for (uint32_t at = 0; at < query.count && at < STANDING_MAX; at++) {
		auto one = Napi::Object::New(info.Env());
		one.Set("programId", programs[at]);
		one.Set("linkId", links[at]);
		line.Set(at, one);
	}
	return line;
}

UniqueFd attach(const Program &program, uint32_t ifindex, bpf_attach_type type, uint32_t flags,
		const char *operation)
{
	LIBBPF_OPTS(bpf_link_create_opts, options);
	options.flags = flags;
	int fd = bpf_link_create(program.fd.get(), ifindex, type, &options);
	if (fd == -EINVAL && type != BPF_XDP && !tcx_supported())
		fd = -EOPNOTSUPP;
	return UniqueFd(check(fd, operation, "ifindex " + std::to_string(ifindex)));
}

uint32_t position_flags(Napi::Value value)
{
	std::string position = to_text(value, "position");
	if (position != "first" && position != "last")
		throw Napi::TypeError::New(value.Env(), "position must be first or last");
	return position == "first" ? POSITION_BEFORE : POSITION_AFTER;
}

/* arguments: program, ifindex, ingress, position */
Napi::Value link_attach_tcx(const Napi::CallbackInfo &info)
{
	bpf_attach_type type = info[2].ToBoolean() ? TCX_INGRESS : TCX_EGRESS;
	return wrap_resource(info.Env(), Link{attach(*resource<Program>(info, 0), to_u32(info[1], "ifindex"),
						     type, position_flags(info[3]), "attach TCX")});
}

/* arguments: program, ifindex, generic */
Napi::Value link_attach_xdp(const Napi::CallbackInfo &info)
{
	uint32_t flags = info[2].ToBoolean() ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE;
	return wrap_resource(info.Env(), Link{attach(*resource<Program>(info, 0), to_u32(info[1], "ifindex"),
						     BPF_XDP, flags, "attach XDP")});
}

/* Beside others that are there, and behind them. arguments: program, path of the cgroup, attach type */
Napi::Value link_attach_cgroup(const Napi::CallbackInfo &info)
{
	constexpr const char *operation = "attach to cgroup";
	int program = resource<Program>(info, 0)->fd.get();
	std::string path = to_text(info[1], "path");
	auto type = static_cast<bpf_attach_type>(to_u32(info[2], "attachType"));
	UniqueFd cgroup(check_errno(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), operation, path));
	LIBBPF_OPTS(bpf_link_create_opts, options);
	int fd = bpf_link_create(program, cgroup.get(), type, &options);
	return wrap_resource(info.Env(), Link{UniqueFd(check(fd, operation, path))});
}

Napi::Value link_from_pin(const Napi::CallbackInfo &info)
{
	return wrap_resource(info.Env(), Link{open_pin(to_text(info[0], "path"), Link::NAME)});
}

Napi::Value link_info(const Napi::CallbackInfo &info)
{
	auto kernel = info_of<bpf_link_info>(resource<Link>(info, 0)->fd.get(), "link");
	auto result = Napi::Object::New(info.Env());
	result.Set("id", kernel.id);
	result.Set("type", kernel.type);
	result.Set("programId", kernel.prog_id);
	TcxInfo place;
	memcpy(&place, &kernel.xdp, sizeof(place));
	if (kernel.type == LINK_TYPE_TCX || kernel.type == LINK_TYPE_XDP)
		result.Set("ifindex", place.ifindex);
	if (kernel.type == LINK_TYPE_TCX)
		result.Set("attachType", place.attach_type);
	if (kernel.type == LINK_TYPE_CGROUP) {
		result.Set("cgroupId", static_cast<double>(kernel.cgroup.cgroup_id));
		result.Set("attachType", static_cast<uint32_t>(kernel.cgroup.attach_type));
	}
	return result;
}

/* In place: each packet meets the old program or the new one. */
Napi::Value link_update(const Napi::CallbackInfo &info)
{
	int fd = resource<Link>(info, 0)->fd.get();
	check(bpf_link_update(fd, resource<Program>(info, 1)->fd.get(), nullptr), "update", "link");
	return info.Env().Undefined();
}

Napi::Value link_detach(const Napi::CallbackInfo &info)
{
	check(bpf_link_detach(resource<Link>(info, 0)->fd.get()), "detach", "link");
	return info.Env().Undefined();
}

} // namespace

void init_bpf_link(Napi::Env env, Napi::Object exports)
{
	define<tcx_supported_value>(env, exports, "tcxSupported");
	define<tcx_line>(env, exports, "tcxLine");
	define<link_attach_tcx>(env, exports, "linkAttachTcx");
	define<link_attach_xdp>(env, exports, "linkAttachXdp");
	define<link_attach_cgroup>(env, exports, "linkAttachCgroup");
	define<link_from_pin>(env, exports, "linkFromPin");
	define<link_info>(env, exports, "linkInfo");
	define<link_update>(env, exports, "linkUpdate");
	define<link_detach>(env, exports, "linkDetach");
}
