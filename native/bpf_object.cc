// SPDX-License-Identifier: MIT
/* BPF object files: open, configure, load. */
#include "bpf_addon.h"

#include "args.h"
#include "async.h"
#include "bpf_fs.h"
#include "bpf_log.h"
#include "bpf_resources.h"

#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <cstring>
#include <vector>

namespace
{

struct ObjectDeleter {
	void operator()(bpf_object *object) const
	{
		bpf_object__close(object);
	}
};

struct Object {
	static constexpr const char *NAME = "object";
	enum class State { OPEN, LOADING, LOADED, FAILED };

	std::unique_ptr<bpf_object, ObjectDeleter> object;
	std::string path;
	/* Changes on the environment's thread alone. While LOADING, everything else belongs to the worker. */
	State state = State::OPEN;

	Object(bpf_object *opened, std::string from) : object(opened), path(std::move(from))
	{
	}
};

Object &in_state(const Napi::CallbackInfo &info, Object::State state, const char *operation)
{
	Object &object = *resource<Object>(info, 0);
	if (object.state == Object::State::LOADING)
		throw Failure{EBUSY, operation, object.path + " (it is being loaded)"};
	if (object.state != state)
		throw Failure{EPERM, operation,
			      object.path + (state == Object::State::OPEN ? " (after its load)"
									  : " (it is not loaded)")};
	return object;
}

Napi::Value object_open(const Napi::CallbackInfo &info)
{
	std::string path = to_text(info[0], "path");
	LogCapture log;
	bpf_object *opened = bpf_object__open_file(path.c_str(), nullptr);
	if (!opened) {
		int error = errno;
		std::string reason = log.first_message();
		throw Failure{error, "open object", reason.empty() ? path : path + " (" + reason + ")"};
	}
	return wrap(info.Env(), std::make_unique<ResourceHandle<Object>>(
				    std::make_shared<Object>(opened, std::move(path))));
}

struct Variable {
	uint8_t *data;
	size_t size;
};

/* A read-only variable's place in the initial content of its map, by the DATASEC of its section. */
Variable find_variable(const Object &object, const std::string &name)
{
	const btf *types = bpf_object__btf(object.object.get());
	for (uint32_t id = 1; types && id < btf__type_cnt(types); id++) {
		const btf_type *section = btf__type_by_id(types, id);
		if (!btf_is_datasec(section))
			continue;
		std::string section_name = btf__name_by_offset(types, section->name_off);
		if (!section_name.starts_with(".rodata"))
			continue;
		for (int i = 0; i < btf_vlen(section); i++) {
			const btf_var_secinfo &entry = btf_var_secinfos(section)[i];
			const btf_type *variable = btf__type_by_id(types, entry.type);
			if (name != btf__name_by_offset(types, variable->name_off))
				continue;
			bpf_map *map =
			    bpf_object__find_map_by_name(object.object.get(), section_name.c_str());
			size_t size = 0;
			/* Const for readers; libbpf's own skeletons write through it before the load. */
			auto *content =
			    map ? static_cast<const uint8_t *>(bpf_map__initial_value(map, &size)) : nullptr;
			if (!content || size_t{entry.offset} + entry.size > size)
				throw Failure{EINVAL, "set variable", name + " of " + object.path};
			return {const_cast<uint8_t *>(content) + entry.offset, entry.size};
		}
	}
	throw Failure{ENOENT, "set variable", name + " of " + object.path};
}

Napi::Value object_set_variable(const Napi::CallbackInfo &info)
{
	Object &object = in_state(info, Object::State::OPEN, "set variable of");
	std::string name = to_text(info[1], "name");
	Variable variable = find_variable(object, name);
	Bytes bytes = to_bytes(info[2], name.c_str(), variable.size);
	memcpy(variable.data, bytes.data(), bytes.size());
	return info.Env().Undefined();
}

bpf_map *find_map(const Object &object, const std::string &name, const char *operation)
{
	bpf_map *map = bpf_object__find_map_by_name(object.object.get(), name.c_str());
	if (!map)
		throw Failure{ENOENT, operation, name + " of " + object.path};
	return map;
}

Napi::Value object_set_max_entries(const Napi::CallbackInfo &info)
{
	Object &object = in_state(info, Object::State::OPEN, "set max_entries in");
	std::string name = to_text(info[1], "map");
	uint32_t entries = to_u32(info[2], "max_entries");
	bpf_map *map = find_map(object, name, "set max_entries of map");
	check(bpf_map__set_max_entries(map, entries), "set max_entries of map", name);
	return info.Env().Undefined();
}

/* Maps that the object would pin by that name, which the kernel cuts off; else null. */
bpf_map *find_shared(bpf_object *object, const char *name)
{
	for (bpf_map *map = nullptr; (map = bpf_object__next_map(object, map));)
		if (bpf_map__pin_path(map) && strncmp(bpf_map__name(map), name, BPF_OBJ_NAME_LEN - 1) == 0)
			return map;
	return nullptr;
}

/* (object, program): its shared maps are those of the program, as large as they are, and no pins are asked.
 */
Napi::Value object_share_maps(const Napi::CallbackInfo &info)
{
	constexpr const char *operation = "share maps with";
	Object &object = in_state(info, Object::State::OPEN, operation);
	int program = resource<Program>(info, 1)->fd.get();
	std::vector<uint32_t> ids(info_of<bpf_prog_info>(program, "program").nr_map_ids);
	bpf_prog_info used = {};
	uint32_t size = sizeof(used);
	used.nr_map_ids = ids.size();
	used.map_ids = reinterpret_cast<uintptr_t>(ids.data());
	check(bpf_obj_get_info_by_fd(program, &used, &size), "read info of", "program");
	for (uint32_t id : ids) {
		UniqueFd fd(check(bpf_map_get_fd_by_id(id), "open map", std::to_string(id)));
		bpf_map *map = find_shared(object.object.get(), info_of<bpf_map_info>(fd.get(), "map").name);
		if (!map)
			continue; /* the program's own */
		check(bpf_map__reuse_fd(map, fd.get()), operation, bpf_map__name(map));
		check(bpf_map__set_pin_path(map, nullptr), operation, bpf_map__name(map));
	}
	/* Declared, and used by neither: a load that wants one all the same fails. */
	for (bpf_map *map = nullptr; (map = bpf_object__next_map(object.object.get(), map));)
		if (bpf_map__pin_path(map))
			check(bpf_map__set_autocreate(map, false), operation, bpf_map__name(map));
	return info.Env().Undefined();
}

void note_difference(std::string &text, const char *field, uint64_t pinned, uint64_t wanted)
{
	if (pinned == wanted)
		return;
	if (!text.empty())
		text += ", ";
	text += std::string(field) + " is " + std::to_string(pinned) + ", wanted " + std::to_string(wanted);
}

/* libbpf would refuse too, but without saying what differs. */
void check_adoptable(const bpf_map *map, const std::string &path)
{
	UniqueFd fd;
	try {
		fd = open_pin(path, Map::NAME);
	} catch (const Failure &failure) {
		if (failure.error == ENOENT)
			return;
		throw;
	}
	auto info = info_of<bpf_map_info>(fd.get(), path.c_str());
	std::string differences;
	note_difference(differences, "type", info.type, bpf_map__type(map));
	note_difference(differences, "key_size", info.key_size, bpf_map__key_size(map));
	note_difference(differences, "value_size", info.value_size, bpf_map__value_size(map));
	note_difference(differences, "max_entries", info.max_entries, bpf_map__max_entries(map));
	note_difference(differences, "map_flags", info.map_flags, bpf_map__map_flags(map));
	note_difference(differences, "map_extra", info.map_extra, bpf_map__map_extra(map));
	if (!differences.empty())
		throw Failure{EEXIST, "adopt pinned map",
			      std::string(bpf_map__name(map)) + " at " + path + " (" + differences + ")"};
}

/* Maps that ask for LIBBPF_PIN_BY_NAME have a pin path since the open: below libbpf's default root. */
void place_pins(bpf_object *object, const std::optional<std::string> &root)
{
	bool made = false;
	for (bpf_map *map = nullptr; (map = bpf_object__next_map(object, map));) {
		if (!bpf_map__pin_path(map))
			continue;
		if (!root) {
			check(bpf_map__set_pin_path(map, nullptr), "set pin path of map", bpf_map__name(map));
			continue;
		}
		if (!std::exchange(made, true))
			make_bpffs_directory(*root);
		std::string path = *root + "/" + bpf_map__name(map);
		check(bpf_map__set_pin_path(map, path.c_str()), "set pin path of map", bpf_map__name(map));
		check_adoptable(map, path);
	}
}

void load(Object &object, const std::optional<std::string> &pin_root)
{
	place_pins(object.object.get(), pin_root);
	LogCapture log;
	int error = -bpf_object__load(object.object.get());
	if (error == 0)
		return;
	auto refusal = log.refusal();
	/* A load refused without a log (EPERM, E2BIG, …) was not the verifier's doing. */
	if (refusal && !refusal->log.empty())
		throw Failure{error, "load program", refusal->program, {}, refusal->log, refusal->program};
	std::string reason = log.first_message();
	throw Failure{error, "load object", reason.empty() ? object.path : object.path + " (" + reason + ")"};
}

Napi::Value object_load(const Napi::CallbackInfo &info)
{
	Object &opened = in_state(info, Object::State::OPEN, "load object");
	std::optional<std::string> pin_root;
	if (is_set(info[1]))
		pin_root = to_text(info[1], "pinRoot");
	std::shared_ptr<Object> object = resource<Object>(info, 0);
	opened.state = Object::State::LOADING;
	using Outcome = std::optional<Failure>;
	return run_async<Outcome>(
	    info.Env(),
	    [object, pin_root]() -> Outcome {
		    try {
			    load(*object, pin_root);
			    return {};
		    } catch (const Failure &failure) {
			    return failure;
		    }
	    },
	    [object](Napi::Env env, Outcome &failure) -> Napi::Value {
		    object->state = failure ? Object::State::FAILED : Object::State::LOADED;
		    if (failure)
			    throw to_error(env, *failure);
		    return env.Undefined();
	    });
}

Napi::Value object_program(const Napi::CallbackInfo &info)
{
	Object &object = in_state(info, Object::State::LOADED, "get program of");
	std::string name = to_text(info[1], "name");
	bpf_program *program = bpf_object__find_program_by_name(object.object.get(), name.c_str());
	if (!program)
		throw Failure{ENOENT, "get program", name + " of " + object.path};
	int fd = check(bpf_program__fd(program), "get program", name);
	return wrap_resource(info.Env(), make_program(duplicate(fd, name)));
}

Napi::Value object_map(const Napi::CallbackInfo &info)
{
	Object &object = in_state(info, Object::State::LOADED, "get map of");
	std::string name = to_text(info[1], "name");
	bpf_map *map = find_map(object, name, "get map");
	int fd = check(bpf_map__fd(map), "get map", name);
	return wrap_resource(info.Env(), make_map(duplicate(fd, name)));
}

Napi::Value object_program_names(const Napi::CallbackInfo &info)
{
	const auto &object = resource<Object>(info, 0);
	auto names = Napi::Array::New(info.Env());
	for (bpf_program *program = nullptr;
	     (program = bpf_object__next_program(object->object.get(), program));)
		names.Set(names.Length(), bpf_program__name(program));
	return names;
}

Napi::Value object_map_names(const Napi::CallbackInfo &info)
{
	const auto &object = resource<Object>(info, 0);
	auto names = Napi::Array::New(info.Env());
	for (bpf_map *map = nullptr; (map = bpf_object__next_map(object->object.get(), map));)
		names.Set(names.Length(), bpf_map__name(map));
	return names;
}

} // namespace

void init_bpf_object(Napi::Env env, Napi::Object exports)
{
	define<object_open>(env, exports, "objectOpen");
	define<object_set_variable>(env, exports, "objectSetVariable");
	define<object_set_max_entries>(env, exports, "objectSetMaxEntries");
	define<object_share_maps>(env, exports, "objectShareMaps");
	define<object_load>(env, exports, "objectLoad");
	define<object_program>(env, exports, "objectProgram");
	define<object_map>(env, exports, "objectMap");
	define<object_program_names>(env, exports, "objectProgramNames");
	define<object_map_names>(env, exports, "objectMapNames");
}
