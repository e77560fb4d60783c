// SPDX-License-Identifier: MIT
/* Whole maps and many elements at once, on worker threads. Falls back to single calls where there is no
 * batch. */
#include "bpf_addon.h"

#include "args.h"
#include "async.h"
#include "bpf_resources.h"

#include <algorithm>
#include <cstring>

namespace
{

constexpr uint32_t READ_CHUNK = 4096;
/* One system call copies this many; the kernel reschedules within. */
constexpr uint32_t WRITE_CHUNK = 65536;
constexpr int KERNEL_ENOTSUPP = 524;

bool has_no_batch(int result)
{
	return result == -KERNEL_ENOTSUPP || result == -EOPNOTSUPP;
}

std::string name_of(const Map &map)
{
	return "map " + std::string(map.info.name, strnlen(map.info.name, sizeof(map.info.name)));
}

struct Entries {
	size_t count = 0;
	std::vector<uint8_t> keys, values;

	void resize(const Map &map, size_t entries)
	{
		keys.resize(entries * map.info.key_size);
		values.resize(entries * map.value_bytes);
	}
};

/* false: this map has no batch lookup */
bool read_batches(const Map &map, Entries &entries)
{
	/* The position is opaque: a bucket number for hashes, a key for the others. */
	std::vector<uint8_t> position(std::max<size_t>(map.info.key_size, sizeof(uint32_t)));
	std::vector<uint8_t> next = position;
	bool first = true;
	uint64_t chunk = std::clamp<uint64_t>(map.info.max_entries, 1, READ_CHUNK);
	/* A whole bucket must fit; none holds more than the map. LRU and per-CPU free lists may exceed it a
	 * little. */
	const uint64_t chunk_max = std::max<uint64_t>(2 * uint64_t{map.info.max_entries}, 2 * READ_CHUNK);

	for (;;) {
		entries.resize(map, entries.count + chunk);
		uint32_t got = chunk;
		int result = bpf_map_lookup_batch(
		    map.fd.get(), first ? nullptr : position.data(), next.data(),
		    entries.keys.data() + entries.count * map.info.key_size,
		    entries.values.data() + entries.count * map.value_bytes, &got, nullptr);
		if (first && has_no_batch(result))
			return false;
		if (result == -ENOSPC && chunk < chunk_max) {
			chunk *= 2;
			continue;
		}
		if (result != -ENOENT)
			check(result, "read", name_of(map));
		entries.count += got;
		if (result == -ENOENT)
			break;
		std::swap(position, next);
		first = false;
	}
	entries.resize(map, entries.count);
	return true;
}

/* A key that vanishes meanwhile sends the kernel back to the start, so the number of steps is bounded. */
void read_singly(const Map &map, Entries &entries)
{
	std::vector<uint8_t> key(map.info.key_size), value(map.value_bytes);
	const uint8_t *previous = nullptr;
	entries = {};
	for (uint64_t steps = 0; steps < 2 * uint64_t{map.info.max_entries}; steps++) {
		std::vector<uint8_t> next(map.info.key_size);
		int result = bpf_map_get_next_key(map.fd.get(), previous, next.data());
		if (result == -ENOENT)
			break;
		check(result, "iterate over", name_of(map));
		key = std::move(next);
		previous = key.data();
		result = bpf_map_lookup_elem(map.fd.get(), key.data(), value.data());
		if (result == -ENOENT)
			continue;
		check(result, "read", name_of(map));
		entries.keys.insert(entries.keys.end(), key.begin(), key.end());
		entries.values.insert(entries.values.end(), value.begin(), value.end());
		entries.count++;
	}
}

Napi::Value map_entries(const Napi::CallbackInfo &info)
{
	std::shared_ptr<Map> map = resource<Map>(info, 0);
	return run_async<Entries>(
	    info.Env(),
	    [map] {
		    Entries entries;
		    if (!read_batches(*map, entries))
			    read_singly(*map, entries);
		    return entries;
	    },
	    [](Napi::Env env, Entries &entries) -> Napi::Value {
		    auto result = Napi::Object::New(env);
		    result.Set("count", static_cast<double>(entries.count));
		    result.Set("keys", from_vector(env, std::move(entries.keys)));
		    result.Set("values", from_vector(env, std::move(entries.values)));
		    return result;
	    });
}

/* A piece of a map, and where the next one begins. */
struct Piece {
	Entries entries;
	std::vector<uint8_t> position; /* empty: that was the last one */
};

/* from: as libbpf wants it, which only reads it */
Piece read_piece(const Map &map, std::vector<uint8_t> from, uint64_t wanted)
{
	Piece piece;
	piece.position.resize(std::max<size_t>(map.info.key_size, sizeof(uint32_t)));
	/* As in read_batches(): a whole bucket must fit. */
	const uint64_t most = std::max<uint64_t>(2 * uint64_t{map.info.max_entries}, 2 * READ_CHUNK);
	for (uint64_t chunk = wanted;; chunk *= 2) {
		piece.entries.resize(map, chunk);
		uint32_t got = chunk;
		int result = bpf_map_lookup_batch(map.fd.get(), from.empty() ? nullptr : from.data(),
						  piece.position.data(), piece.entries.keys.data(),
						  piece.entries.values.data(), &got, nullptr);
		if (result == -ENOSPC && chunk < most)
			continue;
		if (result == -ENOENT)
			piece.position.clear();
		else
			check(result, "read", name_of(map));
		piece.entries.count = got;
		piece.entries.resize(map, got);
		return piece;
	}
}

/* (map, position of the piece before | undefined, entries) */
Napi::Value map_read_piece(const Napi::CallbackInfo &info)
{
	std::shared_ptr<Map> map = resource<Map>(info, 0);
	std::vector<uint8_t> from;
	if (!info[1].IsUndefined()) {
		Bytes bytes =
		    to_bytes(info[1], "position", std::max<size_t>(map->info.key_size, sizeof(uint32_t)));
		from.assign(bytes.begin(), bytes.end());
	}
	uint32_t wanted = to_u32(info[2], "entries");
	if (wanted == 0 || wanted > WRITE_CHUNK)
		throw Napi::RangeError::New(info.Env(),
					    "entries must be from 1 to " + std::to_string(WRITE_CHUNK));
	return run_async<Piece>(
	    info.Env(), [map, from, wanted] { return read_piece(*map, from, wanted); },
	    [](Napi::Env env, Piece &piece) -> Napi::Value {
		    auto result = Napi::Object::New(env);
		    result.Set("count", static_cast<double>(piece.entries.count));
		    result.Set("keys", from_vector(env, std::move(piece.entries.keys)));
		    result.Set("values", from_vector(env, std::move(piece.entries.values)));
		    if (!piece.position.empty())
			    result.Set("position", from_vector(env, std::move(piece.position)));
		    return result;
	    });
}

struct Batch {
	std::shared_ptr<Map> map;
	uint32_t count;
	std::vector<uint8_t> keys, values;

	const uint8_t *key(uint32_t index) const
	{
		return keys.data() + size_t{index} * map->info.key_size;
	}
	const uint8_t *value(uint32_t index) const
	{
		return values.data() + size_t{index} * map->value_bytes;
	}
};

Batch read_keys(const Napi::CallbackInfo &info)
{
	Batch batch = {resource<Map>(info, 0), 0, {}, {}};
	Bytes keys = to_bytes(info[1], "keys");
	uint32_t size = batch.map->info.key_size;
	if (size == 0 || keys.size() % size != 0 || keys.size() / size > UINT32_MAX)
		throw Napi::RangeError::New(info.Env(), "keys have " + std::to_string(keys.size()) +
							    " bytes, must be a multiple of " +
							    std::to_string(size));
	batch.count = keys.size() / size;
	batch.keys.assign(keys.begin(), keys.end());
	return batch;
}

uint32_t set_all(const Batch &batch)
{
	const Map &map = *batch.map;
	uint32_t done = 0;
	bool singly = false;
	while (done < batch.count) {
		uint32_t chunk = singly ? 1 : std::min(batch.count - done, WRITE_CHUNK);
		int result =
		    singly ? bpf_map_update_elem(map.fd.get(), batch.key(done), batch.value(done), BPF_ANY)
			   : bpf_map_update_batch(map.fd.get(), batch.key(done), batch.value(done), &chunk,
						  nullptr);
		if (!singly && has_no_batch(result)) {
			singly = true;
			continue;
		}
		if (result < 0)
			throw Failure{-result, "update", name_of(map), done + (singly ? 0 : chunk)};
		done += chunk;
	}
	return done;
}

/* Keys that are not there are passed over. The result is how many there were. */
uint32_t delete_all(const Batch &batch)
{
	const Map &map = *batch.map;
	uint32_t position = 0, deleted = 0;
	bool singly = false;
	while (position < batch.count) {
		uint32_t chunk = singly ? 1 : std::min(batch.count - position, WRITE_CHUNK);
		int result = singly
				 ? bpf_map_delete_elem(map.fd.get(), batch.key(position))
				 : bpf_map_delete_batch(map.fd.get(), batch.key(position), &chunk, nullptr);
		if (!singly && has_no_batch(result)) {
			singly = true;
			continue;
		}
		if (singly && result < 0)
			chunk = 0;
		deleted += chunk;
		if (result < 0 && result != -ENOENT)
			throw Failure{-result, "delete from", name_of(map), deleted};
		position += chunk + (result == -ENOENT ? 1 : 0);
	}
	return deleted;
}

Napi::Value run_batch(Napi::Env env, Batch &&batch, uint32_t (*work)(const Batch &))
{
	auto shared = std::make_shared<Batch>(std::move(batch));
	return run_async<uint32_t>(
	    env, [shared, work] { return work(*shared); },
	    [](Napi::Env env, uint32_t &count) -> Napi::Value { return Napi::Number::New(env, count); });
}

Napi::Value map_set_batch(const Napi::CallbackInfo &info)
{
	Batch batch = read_keys(info);
	uint32_t type = batch.map->info.type;
	if (type == BPF_MAP_TYPE_ARRAY_OF_MAPS || type == BPF_MAP_TYPE_HASH_OF_MAPS)
		throw Napi::TypeError::New(info.Env(), "values of a map of maps are maps");
	Bytes values = to_bytes(info[2], "values", size_t{batch.count} * batch.map->value_bytes);
	batch.values.assign(values.begin(), values.end());
	return run_batch(info.Env(), std::move(batch), set_all);
}

Napi::Value map_delete_batch(const Napi::CallbackInfo &info)
{
	return run_batch(info.Env(), read_keys(info), delete_all);
}

} // namespace

void init_bpf_map_batch(Napi::Env env, Napi::Object exports)
{
	define<map_entries>(env, exports, "mapEntries");
	define<map_read_piece>(env, exports, "mapReadPiece");
	define<map_set_batch>(env, exports, "mapSetBatch");
	define<map_delete_batch>(env, exports, "mapDeleteBatch");
}
