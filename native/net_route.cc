// SPDX-License-Identifier: MIT
/* Makes and removes routes of the main table. */
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

void define_routes(Napi::Env env, Napi::Object exports)
{
	define<route_add>(env, exports, "routeAdd");
	define<route_delete>(env, exports, "routeDelete");
}
