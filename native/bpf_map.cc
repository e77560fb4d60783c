// SPDX-License-Identifier: MIT
/* Maps, one element at a time. Buffers are compared with the map's sizes before any system call sees them. */
#include "bpf_addon.h"

#include "args.h"
#include "bpf_resources.h"

#include <cstring>

namespace
{

bool holds_maps(const Map &map)
{
	return map.info.type == BPF_MAP_TYPE_ARRAY_OF_MAPS || map.info.type == BPF_MAP_TYPE_HASH_OF_MAPS;
}

std::string name_of(const Map &map)
{
	return "map " + std::string(map.info.name, strnlen(map.info.name, sizeof(map.info.name)));
}

/* Maps without keys (queue, stack) take an empty key here and a null pointer in the kernel. */
const void *key_argument(const Map &map, Napi::Value value)
{
	Bytes key = to_bytes(value, "key", map.info.key_size);
	return key.empty() ? nullptr : key.data();
}

Napi::Value map_from_pin(const Napi::CallbackInfo &info)
{
	return wrap_resource(info.Env(), make_map(open_pin(to_text(info[0], "path"), Map::NAME)));
}

/* arguments: type, name, keySize, valueSize, maxEntries, flags, innerMap? */
Napi::Value map_create(const Napi::CallbackInfo &info)
{
	LIBBPF_OPTS(bpf_map_create_opts, options);
	std::string name = to_text(info[1], "name");
	options.map_flags = to_u32(info[5], "flags");
	if (is_set(info[6]))
		options.inner_map_fd = resource<Map>(info, 6)->fd.get();
	UniqueFd fd(check(bpf_map_create(static_cast<bpf_map_type>(to_u32(info[0], "type")), name.c_str(),
					 to_u32(info[2], "keySize"), to_u32(info[3], "valueSize"),
					 to_u32(info[4], "maxEntries"), &options),
			  "create map", name));
	return wrap_resource(info.Env(), make_map(std::move(fd)));
}

Napi::Value map_info(const Napi::CallbackInfo &info)
{
	const Map &map = *resource<Map>(info, 0);
	auto result = Napi::Object::New(info.Env());
	result.Set("id", map.info.id);
	result.Set("type", map.info.type);
	result.Set("name", std::string(map.info.name, strnlen(map.info.name, sizeof(map.info.name))));
	result.Set("keySize", map.info.key_size);
	result.Set("valueSize", map.info.value_size);
	result.Set("maxEntries", map.info.max_entries);
	result.Set("flags", map.info.map_flags);
	result.Set("valueBytes", static_cast<double>(map.value_bytes));
	return result;
}

Napi::Value map_get(const Napi::CallbackInfo &info)
{
	const Map &map = *resource<Map>(info, 0);
	const void *key = key_argument(map, info[1]);
	std::vector<uint8_t> value(map.value_bytes);
	int result = bpf_map_lookup_elem(map.fd.get(), key, value.data());
	if (result == -ENOENT)
		return info.Env().Undefined();
	check(result, "look up in", name_of(map));
	return from_bytes(info.Env(), value);
}

Napi::Value map_set(const Napi::CallbackInfo &info)
{
	const Map &map = *resource<Map>(info, 0);
	/* The kernel would take the value for a descriptor of this process. */
	if (holds_maps(map))
		throw Napi::TypeError::New(info.Env(), "values of a map of maps are maps");
	const void *key = key_argument(map, info[1]);
	Bytes value = to_bytes(info[2], "value", map.value_bytes);
	check(bpf_map_update_elem(map.fd.get(), key, value.data(), to_u32(info[3], "flags")), "update",
	      name_of(map));
	return info.Env().Undefined();
}

Napi::Value map_set_inner(const Napi::CallbackInfo &info)
{
	const Map &map = *resource<Map>(info, 0);
	if (!holds_maps(map))
		throw Napi::TypeError::New(info.Env(), "not a map of maps");
	const void *key = key_argument(map, info[1]);
	uint32_t inner = resource<Map>(info, 2)->fd.get();
	check(bpf_map_update_elem(map.fd.get(), key, &inner, BPF_ANY), "update", name_of(map));
	return info.Env().Undefined();
}

/* false: there was none */
Napi::Value map_delete(const Napi::CallbackInfo &info)
{
	const Map &map = *resource<Map>(info, 0);
	int result = bpf_map_delete_elem(map.fd.get(), key_argument(map, info[1]));
	if (result != -ENOENT)
		check(result, "delete from", name_of(map));
	return Napi::Boolean::New(info.Env(), result == 0);
}

Napi::Value map_next_key(const Napi::CallbackInfo &info)
{
	const Map &map = *resource<Map>(info, 0);
	const void *key = is_set(info[1]) ? key_argument(map, info[1]) : nullptr;
	std::vector<uint8_t> next(map.info.key_size);
	int result = bpf_map_get_next_key(map.fd.get(), key, next.data());
	if (result == -ENOENT)
		return info.Env().Undefined();
	check(result, "iterate over", name_of(map));
	return from_bytes(info.Env(), next);
}

} // namespace

void init_bpf_map(Napi::Env env, Napi::Object exports)
{
	define<map_from_pin>(env, exports, "mapFromPin");
	define<map_create>(env, exports, "mapCreate");
	define<map_info>(env, exports, "mapInfo");
	define<map_get>(env, exports, "mapGet");
	define<map_set>(env, exports, "mapSet");
	define<map_set_inner>(env, exports, "mapSetInner");
	define<map_delete>(env, exports, "mapDelete");
	define<map_next_key>(env, exports, "mapNextKey");
}
