/* SPDX-License-Identifier: MIT */
/* The kernel's BPF objects as owned descriptors, and what is common to all of them: kind, info, pins. */
#pragma once

#include "handle.h"
#include "unique_fd.h"

#include <bpf/bpf.h>
#include <string>
#include <utility>

struct Program {
	static constexpr const char *NAME = "program";
	UniqueFd fd;
	uint32_t type; /* enum bpf_prog_type */
};

struct Link {
	static constexpr const char *NAME = "link";
	UniqueFd fd;
};

struct Map {
	static constexpr const char *NAME = "map";
	UniqueFd fd;
	bpf_map_info info;
	size_t value_bytes; /* of one value as read and written here; per-CPU maps: all CPUs' slots */
};

struct Statistics {
	static constexpr const char *NAME = "run statistics";
	UniqueFd fd;
};

/* A handle shares its resource with the workers that use it: the descriptor closes when the last of them is
 * done. */
template <class Resource> class ResourceHandle final : public Handle
{
      public:
	static constexpr const char *NAME = Resource::NAME;

	explicit ResourceHandle(std::shared_ptr<Resource> resource) : resource_(std::move(resource))
	{
	}
	void close() override
	{
		resource_.reset();
	}
	const std::shared_ptr<Resource> &get() const
	{
		if (!resource_)
			throw Closed{NAME};
		return resource_;
	}

      private:
	std::shared_ptr<Resource> resource_;
};

template <class Resource>
const std::shared_ptr<Resource> &resource(const Napi::CallbackInfo &info, size_t index)
{
	return unwrap<ResourceHandle<Resource>>(info, index).get();
}

template <class Resource> Napi::Value wrap_resource(Napi::Env env, Resource &&value)
{
	return wrap(env,
		    std::make_unique<ResourceHandle<Resource>>(std::make_shared<Resource>(std::move(value))));
}

/* Takes the descriptor over and asks the kernel what it is. */
Map make_map(UniqueFd fd);
Program make_program(UniqueFd fd);

/* A copy of a descriptor that somebody else (libbpf) owns. */
UniqueFd duplicate(int fd, const std::string &object);

/* struct bpf_*_info; fields that the kernel does not know stay 0. */
template <class Info> Info info_of(int fd, const char *what)
{
	Info info = {};
	uint32_t size = sizeof(info);
	check(bpf_obj_get_info_by_fd(fd, &info, &size), "read info of", what);
	return info;
}

/* Opens a pin that must be of this kind ("map", "program", "link"), else EINVAL. */
UniqueFd open_pin(const std::string &path, const char *kind);

/* pin(handle, path), unpin(path): boolean (false: there was none) */
void init_bpf_resources(Napi::Env env, Napi::Object exports);
