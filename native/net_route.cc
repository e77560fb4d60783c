// SPDX-License-Identifier: MIT
/* Routes of the main table. */
#include "net_parts.h"
#include "net_text.h"

#include <linux/rtnetlink.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>

using RoutePtr = std::unique_ptr<rtnl_route, Deleter<rtnl_route_put>>;

struct RouteOptions {
	AddressPtr destination;
	AddressPtr via;
	AddressPtr source;
	std::optional<int> index;
	std::optional<uint32_t> metric;
	std::optional<uint8_t> scope;
	bool on_link;
	bool unreachable;
	std::string text;
};

static AddressPtr any_address(int family)
{
	unsigned char zero[sizeof(in6_addr)] = {};
	size_t size = family == AF_INET ? sizeof(in_addr) : sizeof(in6_addr);
	AddressPtr address(check_allocated(nl_addr_build(family, zero, size), "build", "address"));
	nl_addr_set_prefixlen(address.get(), 0);
	return address;
}

static AddressPtr read_destination(const Options &options)
{
	std::string text = options.text("destination");
	if (text == "default4")
		return any_address(AF_INET);
	if (text == "default6")
		return any_address(AF_INET6);
	return options.prefix("destination");
}

/* {destination, type?: 'unreachable', via?, index?, onLink?, scope?, source?, metric?} */
static RouteOptions read_route(Napi::Env env, Napi::Value value)
{
	Options options(value);
	RouteOptions route = {.destination = read_destination(options),
			      .via = options.address_if("via"),
			      .source = options.address_if("source"),
			      .index = options.index_if("index"),
			      .metric = options.number_if("metric"),
			      .scope = {},
			      .on_link = options.flag_if("onLink").value_or(false),
			      .unreachable = false,
			      .text = {}};
	int family = nl_addr_get_family(route.destination.get());
	for (const AddressPtr *address : {&route.via, &route.source}) {
		if (*address && nl_addr_get_family(address->get()) != family)
			throw Napi::RangeError::New(
			    env, "via and source must be of the destination's address family");
	}
	if (auto type = options.text_if("type")) {
		if (*type != "unreachable" || route.via || route.index || route.source)
			throw Napi::RangeError::New(
			    env, "type must be unreachable, and such a route leads nowhere");
		route.unreachable = true;
	}
	if (auto scope = options.text_if("scope")) {
		if (*scope != "link" && *scope != "global")
			throw Napi::RangeError::New(env, "scope must be link or global");
		route.scope = *scope == "link" ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
	}
	route.text = "route to " + prefix_text(route.destination.get());
	if (route.via)
		route.text += " via " + address_text(route.via.get());
	if (route.index)
		route.text += " on " + index_text(*route.index);
	return route;
}

static RoutePtr describe(const RouteOptions &options)
{
	RoutePtr route(check_allocated(rtnl_route_alloc(), "build", options.text));
	check_libnl(rtnl_route_set_dst(route.get(), options.destination.get()), "build", options.text);
	if (options.scope)
		rtnl_route_set_scope(route.get(), *options.scope);
	if (options.unreachable) {
		check_libnl(rtnl_route_set_type(route.get(), RTN_UNREACHABLE), "build", options.text);
		rtnl_route_set_scope(route.get(), RT_SCOPE_UNIVERSE);
	}
	if (options.metric)
		rtnl_route_set_priority(route.get(), *options.metric);
	if (options.source)
		check_libnl(rtnl_route_set_pref_src(route.get(), options.source.get()), "build",
			    options.text);
	if (options.on_link)
		rtnl_route_set_flags(route.get(), RTNH_F_ONLINK);
	if (options.via || options.index) {
		rtnl_nexthop *hop = check_allocated(rtnl_route_nh_alloc(), "build", options.text);
		if (options.via)
			rtnl_route_nh_set_gateway(hop, options.via.get());
		if (options.index)
			rtnl_route_nh_set_ifindex(hop, *options.index);
		rtnl_route_add_nexthop(route.get(), hop); /* which now owns it */
	}
	return route;
}

/* (socket, {destination, type?, via?, index?, onLink?, scope?, source?, metric?, replace?}) */
static Napi::Value route_add(const Napi::CallbackInfo &info)
{
	constexpr const char *operation = "add";
	RouteSocket &socket = unwrap<RouteSocket>(info, 0);
	RouteOptions options = read_route(info.Env(), info[1]);
	std::string object = socket.text(options.text);
	bool replace = Options(info[1]).flag_if("replace").value_or(false);

	RoutePtr route = describe(options);
	nl_msg *message = nullptr;
	check_libnl(rtnl_route_build_add_request(
			route.get(), NLM_F_CREATE | (replace ? NLM_F_REPLACE : NLM_F_EXCL), &message),
		    operation, object);
	MessagePtr owned(message);
	socket.socket().exchange(message, operation, object);
	return info.Env().Undefined();
}

/* (socket, {destination, type?, via?, index?, metric?}): false when there is no such route */
static Napi::Value route_delete(const Napi::CallbackInfo &info)
{
	constexpr const char *operation = "delete";
	RouteSocket &socket = unwrap<RouteSocket>(info, 0);
	RouteOptions options = read_route(info.Env(), info[1]);
	std::string object = socket.text(options.text);

	RoutePtr route = describe(options);
	/* What is not said matches everything. */
	rtnl_route_set_protocol(route.get(), RTPROT_UNSPEC);
	if (!options.unreachable)
		check_libnl(rtnl_route_set_type(route.get(), RTN_UNSPEC), operation, object);
	if (!options.scope)
		rtnl_route_set_scope(route.get(), RT_SCOPE_NOWHERE);
	nl_msg *message = nullptr;
	check_libnl(rtnl_route_build_del_request(route.get(), 0, &message), operation, object);
	MessagePtr owned(message);
	try {
		socket.socket().exchange(message, operation, object);
	} catch (const Failure &failure) {
		/* IPv6 says ENOENT where the place of a default route is empty. */
		if (failure.error != ESRCH && failure.error != ENOENT && failure.error != ENODEV)
			throw;
		return Napi::Boolean::New(info.Env(), false);
	}
	return Napi::Boolean::New(info.Env(), true);
}

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

void define_routes(Napi::Env env, Napi::Object exports)
{
	define<route_add>(env, exports, "routeAdd");
	define<route_delete>(env, exports, "routeDelete");
	define<route_get>(env, exports, "routeGet");
	define<route_list>(env, exports, "routeList");
	define<route_list_unreachable>(env, exports, "routeListUnreachable");
}
