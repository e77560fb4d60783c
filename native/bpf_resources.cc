// SPDX-License-Identifier: MIT
#include "bpf_resources.h"

#include "args.h"
#include "bpf_fs.h"

#include <bpf/libbpf.h>
#include <cstring>
#include <fcntl.h>

UniqueFd duplicate(int fd, const std::string &object)
{
	return UniqueFd(check_errno(fcntl(fd, F_DUPFD_CLOEXEC, 3), "duplicate descriptor of", object));
}

static bool is_per_cpu(uint32_t type)
{
	switch (type) {
	case BPF_MAP_TYPE_PERCPU_HASH:
	case BPF_MAP_TYPE_PERCPU_ARRAY:
	case BPF_MAP_TYPE_LRU_PERCPU_HASH:
	case BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE:
		return true;
	default:
		return false;
	}
}

Map make_map(UniqueFd fd)
{
	auto info = info_of<bpf_map_info>(fd.get(), "map");
	size_t value_bytes = info.value_size;
	if (is_per_cpu(info.type)) {
		size_t cpus = check(libbpf_num_possible_cpus(), "count", "possible CPUs");
		value_bytes = (value_bytes + 7) / 8 * 8 * cpus;
	}
	return {std::move(fd), info, value_bytes};
}

Program make_program(UniqueFd fd)
{
	auto info = info_of<bpf_prog_info>(fd.get(), "program");
	return {std::move(fd), info.type};
}

/* The kernel names the anonymous inode after the kind: "bpf-map", "bpf-prog", "bpf-link" or "bpf_link". */
static bool is_kind(int fd, const std::string &kind)
{
	char target[64] = {};
	std::string self = "/proc/self/fd/" + std::to_string(fd);
	check_errno(readlink(self.c_str(), target, sizeof(target) - 1), "read", self);
	if (kind == Map::NAME)
		return strstr(target, "bpf-map");
	if (kind == Program::NAME)
		return strstr(target, "bpf-prog");
	return strstr(target, "bpf-link") || strstr(target, "bpf_link");
}

UniqueFd open_pin(const std::string &path, const char *kind)
{
	std::string operation = std::string("open pinned ") + kind;
	UniqueFd fd(check(bpf_obj_get(path.c_str()), operation.c_str(), path));
	if (!is_kind(fd.get(), kind))
		throw Failure{EINVAL, operation, path + " (it is something else)"};
	return fd;
}

static int descriptor(const Napi::CallbackInfo &info)
{
	Handle *handle = info[0].IsExternal() ? info[0].As<Napi::External<Handle>>().Data() : nullptr;
	if (auto *map = dynamic_cast<ResourceHandle<Map> *>(handle))
		return map->get()->fd.get();
	if (auto *program = dynamic_cast<ResourceHandle<Program> *>(handle))
		return program->get()->fd.get();
	return resource<Link>(info, 0)->fd.get();
}

static Napi::Value pin(const Napi::CallbackInfo &info)
{
	int fd = descriptor(info);
	std::string path = to_text(info[1], "path");
	check(bpf_obj_pin(fd, path.c_str()), "pin", path);
	return info.Env().Undefined();
}

/* Refuses paths that are not on a bpffs: a wrong setting must not remove a file of somebody else. */
static Napi::Value unpin(const Napi::CallbackInfo &info)
{
	std::string path = to_text(info[0], "path");
	if (!is_bpffs(parent_of(path))) {
		if (access(path.c_str(), F_OK) < 0 && (errno == ENOENT || errno == ENOTDIR))
			return Napi::Boolean::New(info.Env(), false);
		throw Failure{EINVAL, "unpin", path + " (not on a bpffs)"};
	}
	if (unlink(path.c_str()) == 0)
		return Napi::Boolean::New(info.Env(), true);
	if (errno != ENOENT)
		check_errno(-1, "unpin", path);
	return Napi::Boolean::New(info.Env(), false);
}

void init_bpf_resources(Napi::Env env, Napi::Object exports)
{
	define<pin>(env, exports, "pin");
	define<unpin>(env, exports, "unpin");
}
