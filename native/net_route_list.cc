// SPDX-License-Identifier: MIT
/* Tells of routes: those of the main table, and the one that the kernel would take. */
#include "net_parts.h"
#include "net_text.h"

#include <linux/rtnetlink.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>

static const char *protocol_text(uint8_t protocol)
{
	switch (protocol) {
	case RTPROT_KERNEL:
		return "kernel";
	case RTPROT_BOOT:
		return "boot";
	case RTPROT_STATIC:
		return "static";
	case RTPROT_RA:
		return "ra";
	case RTPROT_DHCP:
		return "dhcp";
	default:
		return "other";
	}
}

static std::string destination_text(rtnl_route *route)
{
	const nl_addr *destination = rtnl_route_get_dst(route);
	if (destination && nl_addr_get_prefixlen(destination) > 0)
		return prefix_text(destination);
	return rtnl_route_get_family(route) == AF_INET ? "default4" : "default6";
}

static Napi::Object route_info(Napi::Env env, rtnl_route *route, rtnl_nexthop *hop)
{
	Napi::Object info = Napi::Object::New(env);

	info.Set("family", family_number(rtnl_route_get_family(route)));
	info.Set("destination", destination_text(route));
	info.Set("scope", rtnl_route_get_scope(route) == RT_SCOPE_LINK ? "link" : "global");
	info.Set("protocol", protocol_text(rtnl_route_get_protocol(route)));
	info.Set("onLink",
		 Napi::Boolean::New(env, (rtnl_route_get_flags(route) | rtnl_route_nh_get_flags(hop)) &
					     RTNH_F_ONLINK));
	if (std::string via = address_text(rtnl_route_nh_get_gateway(hop)); !via.empty())
		info.Set("via", via);
	if (int index = rtnl_route_nh_get_ifindex(hop))
		info.Set("index", index);
	if (std::string source = address_text(rtnl_route_get_pref_src(route)); !source.empty())
		info.Set("source", source);
	if (uint32_t metric = rtnl_route_get_priority(route))
		info.Set("metric", metric);
	return info;
}

/* Adds an entry for each next hop of a unicast route of the main table. */
static void add_routes(Napi::Env env, Napi::Array result, nl_object *object)
{
	auto *route = reinterpret_cast<rtnl_route *>(object);
	if (rtnl_route_get_table(route) != RT_TABLE_MAIN || rtnl_route_get_type(route) != RTN_UNICAST)
		return;
	for (int i = 0; i < rtnl_route_get_nnexthops(route); i++)
		result.Set(result.Length(), route_info(env, route, rtnl_route_nexthop_n(route, i)));
}

/*
 * Routes of one type in the main table. The kernel leaves the others out, of which those of the local table
 * outnumber them; before 4.20 it sends all. ENOENT: nothing has made the table yet, as in a namespace whose
 * lo was never up.
 */
static std::vector<ObjectPtr> main_routes(RouteSocket &socket, unsigned char family, unsigned char type,
					  const std::string &what, size_t most = SIZE_MAX)
{
	rtmsg header = {};
	header.rtm_family = family;
	header.rtm_table = RT_TABLE_MAIN;
	header.rtm_type = type;
	MessagePtr message = new_message(RTM_GETROUTE, NLM_F_DUMP, header);
	try {
		return socket.socket().query(message.get(), "list", socket.text(what), most);
	} catch (const Failure &failure) {
		if (failure.error != ENOENT)
			throw;
		return {};
	}
}

/* (socket, family?: 4 | 6, most?): one entry for each next hop; E2BIG when there are more than `most` routes
 */
static Napi::Value route_list(const Napi::CallbackInfo &info)
{
	RouteSocket &socket = unwrap<RouteSocket>(info, 0);
	uint32_t family = is_set(info[1]) ? to_u32(info[1], "family") : 0;
	if (family != 0 && family != 4 && family != 6)
		throw Napi::RangeError::New(info.Env(), "family must be 4 or 6");
	size_t most = is_set(info[2]) ? to_u32(info[2], "most") : SIZE_MAX;
	Napi::Array result = Napi::Array::New(info.Env());
	for (unsigned char wanted : {AF_INET, AF_INET6}) {
		if (family && family_number(wanted) != static_cast<int>(family))
			continue;
		for (const ObjectPtr &object : main_routes(socket, wanted, RTN_UNICAST, "routes", most))
			add_routes(info.Env(), result, object.get());
	}
	return result;
}

/* (socket, {address, index?}): next hops of the route that the kernel takes to it, by that interface if it is
 * said; none: it refuses, or keeps it itself */
static Napi::Value route_get(const Napi::CallbackInfo &info)
{
	constexpr const char *operation = "look up";
	RouteSocket &socket = unwrap<RouteSocket>(info, 0);
	Options options(info[1]);
	AddressPtr address = options.address("address");
	std::optional<int> index = options.index_if("index");
	std::string text = address_text(address.get());
	Napi::Array result = Napi::Array::New(info.Env());

	rtmsg header = {};
	header.rtm_family = static_cast<unsigned char>(nl_addr_get_family(address.get()));
	header.rtm_dst_len = static_cast<unsigned char>(8 * nl_addr_get_len(address.get()));
	header.rtm_flags = RTM_F_FIB_MATCH;
	MessagePtr message = new_message(RTM_GETROUTE, 0, header);
	check_libnl(nla_put(message.get(), RTA_DST, static_cast<int>(nl_addr_get_len(address.get())),
			    nl_addr_get_binary_addr(address.get())),
		    "build", text);
	if (index)
		check_libnl(nla_put_u32(message.get(), RTA_OIF, static_cast<uint32_t>(*index)), "build",
			    text);
	try {
		for (const ObjectPtr &object :
		     socket.socket().query(message.get(), operation, socket.text("route to " + text)))
			add_routes(info.Env(), result, object.get());
	} catch (const Failure &failure) {
		if (failure.error != ENETUNREACH && failure.error != EHOSTUNREACH &&
		    failure.error != EACCES && failure.error != EINVAL)
			throw;
	}
	return result;
}

/* (socket, metric): destinations of the unreachable routes of that metric */
static Napi::Value route_list_unreachable(const Napi::CallbackInfo &info)
{
	RouteSocket &socket = unwrap<RouteSocket>(info, 0);
	uint32_t metric = to_u32(info[1], "metric");
	Napi::Array result = Napi::Array::New(info.Env());
	for (unsigned char family : {AF_INET, AF_INET6}) {
		for (const ObjectPtr &object :
		     main_routes(socket, family, RTN_UNREACHABLE, "unreachable routes")) {
			auto *route = reinterpret_cast<rtnl_route *>(object.get());
			if (rtnl_route_get_table(route) == RT_TABLE_MAIN &&
			    rtnl_route_get_type(route) == RTN_UNREACHABLE &&
			    rtnl_route_get_priority(route) == metric)
				result.Set(result.Length(), destination_text(route));
		}
	}
	return result;
}

void define_route_lists(Napi::Env env, Napi::Object exports)
{
	define<route_get>(env, exports, "routeGet");
	define<route_list>(env, exports, "routeList");
	define<route_list_unreachable>(env, exports, "routeListUnreachable");
}
