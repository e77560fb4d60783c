// SPDX-License-Identifier: MIT
/* Addresses of links. */
#include "net_parts.h"
#include "net_text.h"

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <netlink/route/addr.h>

using LinkAddressPtr = std::unique_ptr<rtnl_addr, Deleter<rtnl_addr_put>>;

static const char *scope_text(int scope)
{
	switch (scope) {
	case RT_SCOPE_UNIVERSE:
		return "global";
	case RT_SCOPE_SITE:
		return "site";
	case RT_SCOPE_LINK:
		return "link";
	case RT_SCOPE_HOST:
		return "host";
	default:
		return "nowhere";
	}
}

static Napi::Object address_info(Napi::Env env, rtnl_addr *address)
{
	Napi::Object info = Napi::Object::New(env);
	unsigned flags = rtnl_addr_get_flags(address);
	const nl_addr *local = rtnl_addr_get_local(address);
	const nl_addr *broadcast = rtnl_addr_get_broadcast(address);

	info.Set("index", rtnl_addr_get_ifindex(address));
	info.Set("address", address_text(local));
	info.Set("prefixLength", rtnl_addr_get_prefixlen(address));
	info.Set("family", family_number(rtnl_addr_get_family(address)));
	info.Set("scope", scope_text(rtnl_addr_get_scope(address)));
	if (broadcast)
		info.Set("broadcast", address_text(broadcast));
	info.Set("noDad", Napi::Boolean::New(env, flags & IFA_F_NODAD));
	info.Set("noPrefixRoute", Napi::Boolean::New(env, flags & IFA_F_NOPREFIXROUTE));
	info.Set("tentative", Napi::Boolean::New(env, flags & IFA_F_TENTATIVE));
	info.Set("deprecated", Napi::Boolean::New(env, flags & IFA_F_DEPRECATED));
	return info;
}

static std::string object_text(const RouteSocket &route, const nl_addr *prefix, int index)
{
	return route.text("address " + prefix_text(prefix) + " on " + index_text(index));
}

/* {index, address, noDad?, noPrefixRoute?} */
static LinkAddressPtr describe(const Options &options, const nl_addr *prefix, int index)
{
	LinkAddressPtr address(check_allocated(rtnl_addr_alloc(), "build", "address"));
	rtnl_addr_set_ifindex(address.get(), index);
	check_libnl(rtnl_addr_set_local(address.get(), const_cast<nl_addr *>(prefix)), "build", "address");
	unsigned flags = 0;
	/* DAD is a matter of IPv6; IPv4 refuses nothing but would store the flag. */
	if (options.flag_if("noDad").value_or(false) && nl_addr_get_family(prefix) == AF_INET6)
		flags |= IFA_F_NODAD;
	if (options.flag_if("noPrefixRoute").value_or(false))
		flags |= IFA_F_NOPREFIXROUTE;
	rtnl_addr_set_flags(address.get(), flags);
	return address;
}

/* (socket, {index, address, noDad?, noPrefixRoute?}) */
static Napi::Value address_add(const Napi::CallbackInfo &info)
{
	constexpr const char *operation = "add";
	RouteSocket &route = unwrap<RouteSocket>(info, 0);
	Options options(info[1]);
	int index = options.index("index");
	AddressPtr prefix = options.prefix("address");
	std::string object = object_text(route, prefix.get(), index);

	LinkAddressPtr address = describe(options, prefix.get(), index);
	nl_msg *message = nullptr;
	check_libnl(rtnl_addr_build_add_request(address.get(), NLM_F_CREATE | NLM_F_EXCL, &message),
		    operation, object);
	MessagePtr owned(message);
	route.socket().exchange(message, operation, object);
	return info.Env().Undefined();
}

/* (socket, {index, address}): false when it, or the link, is not there */
static Napi::Value address_delete(const Napi::CallbackInfo &info)
{
	constexpr const char *operation = "delete";
	RouteSocket &route = unwrap<RouteSocket>(info, 0);
	Options options(info[1]);
	int index = options.index("index");
	AddressPtr prefix = options.prefix("address");
	std::string object = object_text(route, prefix.get(), index);

	LinkAddressPtr address = describe(options, prefix.get(), index);
	nl_msg *message = nullptr;
	check_libnl(rtnl_addr_build_delete_request(address.get(), 0, &message), operation, object);
	MessagePtr owned(message);
	try {
		route.socket().exchange(message, operation, object);
	} catch (const Failure &failure) {
		if (failure.error != EADDRNOTAVAIL && failure.error != ENODEV)
			throw;
		return Napi::Boolean::New(info.Env(), false);
	}
	return Napi::Boolean::New(info.Env(), true);
}

/* (socket, index?) */
static Napi::Value address_list(const Napi::CallbackInfo &info)
{
	RouteSocket &route = unwrap<RouteSocket>(info, 0);
	uint32_t index = is_set(info[1]) ? to_u32(info[1], "index") : 0;
	/* Kernels before 4.20 ignore the filter, hence the test below. */
	ifaddrmsg header = {};
	header.ifa_index = index;
	MessagePtr message = new_message(RTM_GETADDR, NLM_F_DUMP, header);
	Napi::Array result = Napi::Array::New(info.Env());
	std::vector<ObjectPtr> objects;
	try {
		objects = route.socket().query(message.get(), "list", route.text("addresses"));
	} catch (const Failure &failure) {
		if (failure.error != ENODEV || !index)
			throw;
	}
	for (const ObjectPtr &object : objects) {
		auto *address = reinterpret_cast<rtnl_addr *>(object.get());
		if (!family_number(rtnl_addr_get_family(address)))
			continue;
		if (!index || rtnl_addr_get_ifindex(address) == static_cast<int>(index))
			result.Set(result.Length(), address_info(info.Env(), address));
	}
	return result;
}

void define_addresses(Napi::Env env, Napi::Object exports)
{
	define<address_add>(env, exports, "addressAdd");
	define<address_delete>(env, exports, "addressDelete");
	define<address_list>(env, exports, "addressList");
}
