// SPDX-License-Identifier: MIT
/* Registration of the network half, and opening and closing its sockets. */
#include "net_parts.h"
#include "net_socket.h"
#include "netns.h"

/* (namespace | undefined): a socket in that namespace, or in the calling thread's */
static Napi::Value route_socket_open(const Napi::CallbackInfo &info)
{
	std::optional<NetnsScope> scope;
	if (!info[0].IsUndefined())
		scope.emplace(unwrap<Netns>(info, 0).fd());
	return wrap(info.Env(), std::make_unique<RouteSocket>());
}

static Napi::Value route_socket_close(const Napi::CallbackInfo &info)
{
	unwrap<RouteSocket>(info, 0).close();
	return info.Env().Undefined();
}

void init_net(Napi::Env env, Napi::Object exports)
{
	define<route_socket_open>(env, exports, "routeSocketOpen");
	define<route_socket_close>(env, exports, "routeSocketClose");
	define_netns(env, exports);
	define_links(env, exports);
	define_addresses(env, exports);
	define_routes(env, exports);
	define_route_lists(env, exports);
	define_neighbours(env, exports);
	define_queues(env, exports);
	define_watch(env, exports);
	define_ethtool(env, exports);
	define_sockdiag(env, exports);
}
