// SPDX-License-Identifier: MIT
/* Neighbours: which MAC address an IP address has on a link. */
#include "net_parts.h"
#include "net_text.h"

#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netlink/route/neighbour.h>

using NeighbourPtr = std::unique_ptr<rtnl_neigh, Deleter<rtnl_neigh_put>>;

static const char *state_text(int state)
{
	switch (state) {
	case NUD_INCOMPLETE:
		return "incomplete";
	case NUD_REACHABLE:
		return "reachable";
	case NUD_STALE:
		return "stale";
	case NUD_DELAY:
		return "delay";
	case NUD_PROBE:
		return "probe";
	case NUD_FAILED:
		return "failed";
	case NUD_NOARP:
		return "noarp";
	case NUD_PERMANENT:
		return "permanent";
	default:
		return "none";
	}
}

static Napi::Object neighbour_info(Napi::Env env, rtnl_neigh *neighbour)
{
	Napi::Object info = Napi::Object::New(env);
	info.Set("index", rtnl_neigh_get_ifindex(neighbour));
	info.Set("address", address_text(rtnl_neigh_get_dst(neighbour)));
	if (std::string mac = address_text(rtnl_neigh_get_lladdr(neighbour)); !mac.empty())
		info.Set("mac", mac);
	info.Set("state", state_text(rtnl_neigh_get_state(neighbour)));
	return info;
}

struct NeighbourKey {
	int index;
	AddressPtr address;
	std::string text;
	NeighbourPtr neighbour;
};

static NeighbourKey read_key(const RouteSocket &route, const Options &options)
{
	int index = options.index("index");
	AddressPtr address = options.address("address");
	std::string text =
	    route.text("neighbour " + address_text(address.get()) + " on " + index_text(index));
	NeighbourPtr neighbour(check_allocated(rtnl_neigh_alloc(), "build", text));
	rtnl_neigh_set_ifindex(neighbour.get(), index);
	check_libnl(rtnl_neigh_set_dst(neighbour.get(), address.get()), "build", text);
	return {index, std::move(address), std::move(text), std::move(neighbour)};
}

/* (socket, {index, address, mac}): creates a permanent one or changes what is there into it */
static Napi::Value neighbour_set(const Napi::CallbackInfo &info)
{
	constexpr const char *operation = "set";
	RouteSocket &route = unwrap<RouteSocket>(info, 0);
	Options options(info[1]);
	NeighbourKey key = read_key(route, options);
	AddressPtr mac = options.mac("mac");
	rtnl_neigh_set_lladdr(key.neighbour.get(), mac.get());
	rtnl_neigh_set_state(key.neighbour.get(), NUD_PERMANENT);
	nl_msg *message = nullptr;
	check_libnl(rtnl_neigh_build_add_request(key.neighbour.get(), NLM_F_CREATE | NLM_F_REPLACE, &message),
		    operation, key.text);
	MessagePtr owned(message);
	route.socket().exchange(message, operation, key.text);
	return info.Env().Undefined();
}

/* (socket, {index, address}): false when there is none */
static Napi::Value neighbour_delete(const Napi::CallbackInfo &info)
{
	constexpr const char *operation = "delete";
	RouteSocket &route = unwrap<RouteSocket>(info, 0);
	NeighbourKey key = read_key(route, Options(info[1]));
	nl_msg *message = nullptr;
	check_libnl(rtnl_neigh_build_delete_request(key.neighbour.get(), 0, &message), operation, key.text);
	MessagePtr owned(message);
	try {
		route.socket().exchange(message, operation, key.text);
	} catch (const Failure &failure) {
		if (failure.error != ENOENT && failure.error != ENODEV)
			throw;
		return Napi::Boolean::New(info.Env(), false);
	}
	return Napi::Boolean::New(info.Env(), true);
}

/* (socket, index?) */
static Napi::Value neighbour_list(const Napi::CallbackInfo &info)
{
	RouteSocket &route = unwrap<RouteSocket>(info, 0);
	uint32_t index = is_set(info[1]) ? to_u32(info[1], "index") : 0;
	MessagePtr message = new_message(RTM_GETNEIGH, NLM_F_DUMP, ndmsg{});
	if (index)
		check_libnl(nla_put_u32(message.get(), NDA_IFINDEX, index), "list", "neighbours");
	Napi::Array result = Napi::Array::New(info.Env());
	for (const ObjectPtr &object :
	     route.socket().query(message.get(), "list", route.text("neighbours"))) {
		auto *neighbour = reinterpret_cast<rtnl_neigh *>(object.get());
		if (!family_number(rtnl_neigh_get_family(neighbour)))
			continue;
		if (!index || rtnl_neigh_get_ifindex(neighbour) == static_cast<int>(index))
			result.Set(result.Length(), neighbour_info(info.Env(), neighbour));
	}
	return result;
}

void define_neighbours(Napi::Env env, Napi::Object exports)
{
	define<neighbour_set>(env, exports, "neighbourSet");
	define<neighbour_delete>(env, exports, "neighbourDelete");
	define<neighbour_list>(env, exports, "neighbourList");
}
