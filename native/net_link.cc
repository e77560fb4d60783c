// SPDX-License-Identifier: MIT
/* Links: veth, bridge and dummy interfaces; finding, changing, moving and deleting them. */
#include "async.h"
#include "net_link_info.h"
#include "net_parts.h"
#include "net_text.h"
#include "netns.h"

#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/rtnetlink.h>
#include <netlink/route/link.h>
#include <netlink/route/link/inet.h>
#include <netlink/route/link/inet6.h>
#include <netlink/route/link/veth.h>

using LinkPtr = std::unique_ptr<rtnl_link, Deleter<rtnl_link_put>>;

static rtnl_link *link_of(const ObjectPtr &object)
{
	return reinterpret_cast<rtnl_link *>(object.get());
}

/* Null when there is none. */
static ObjectPtr find_link(RouteSocket &route, const LinkKey &key)
{
	constexpr const char *operation = "read";
	std::string object = route.text(key.text());
	nl_msg *message = nullptr;
	check_libnl(rtnl_link_build_get_request(key.index, key.index ? nullptr : key.name.c_str(), &message),
		    operation, object);
	MessagePtr owned(message);
	try {
		auto objects = route.socket().query(message, operation, object);
		return objects.empty() ? nullptr : std::move(objects.front());
	} catch (const Failure &failure) {
		if (failure.error == ENODEV)
			return nullptr;
		throw;
	}
}

static int find_index(RouteSocket &route, const LinkKey &key, const char *operation)
{
	if (key.index)
		return key.index;
	ObjectPtr link = find_link(route, key);
	if (!link)
		throw Failure{ENODEV, operation, route.text(key.text())};
	return rtnl_link_get_ifindex(link_of(link));
}

static void change_link(RouteSocket &route, int index, rtnl_link *changes, const char *operation,
			const std::string &object)
{
	LinkPtr which(check_allocated(rtnl_link_alloc(), operation, object));
	rtnl_link_set_ifindex(which.get(), index);
	nl_msg *message = nullptr;
	check_libnl(rtnl_link_build_change_request(which.get(), changes, 0, &message), operation, object);
	MessagePtr owned(message);
	route.socket().exchange(message, operation, object);
}

static bool delete_link(RouteSocket &route, const LinkKey &key)
{
	constexpr const char *operation = "delete";
	std::string object = route.text(key.text());
	LinkPtr link(check_allocated(rtnl_link_alloc(), operation, object));
	if (key.index)
		rtnl_link_set_ifindex(link.get(), key.index);
	else
		rtnl_link_set_name(link.get(), key.name.c_str());
	nl_msg *message = nullptr;
	check_libnl(rtnl_link_build_delete_request(link.get(), &message), operation, object);
	MessagePtr owned(message);
	try {
		route.socket().exchange(message, operation, object);
		return true;
	} catch (const Failure &failure) {
		if (failure.error == ENODEV)
			return false;
		throw;
	}
}

/* Creates the link that `link` describes. */
static void create_link(RouteSocket &route, rtnl_link *link)
{
	constexpr const char *operation = "create";
	std::string object = route.text(LinkKey{0, rtnl_link_get_name(link)}.text());
	nl_msg *message = nullptr;
	check_libnl(rtnl_link_build_add_request(link, NLM_F_CREATE | NLM_F_EXCL, &message), operation,
		    object);
	MessagePtr owned(message);
	route.socket().exchange(message, operation, object);
}

/*
 * The same, whole or not at all, with `settings` that the kernel ignores in the message that creates. The
 * link as it was made.
 */
static ObjectPtr create_link_with(RouteSocket &route, rtnl_link *link, rtnl_link *settings)
{
	constexpr const char *operation = "create";
	LinkKey key = {0, rtnl_link_get_name(link)};
	std::string object = route.text(key.text());
	create_link(route, link);
	try {
		ObjectPtr made = find_link(route, key);
		if (!made)
			throw Failure{ENODEV, operation, object};
		change_link(route, rtnl_link_get_ifindex(link_of(made)), settings, operation, object);
		return made;
	} catch (const Failure &) {
		delete_link(route, key);
		throw;
	}
}

static void set_common(rtnl_link *link, const std::string &name, const AddressPtr &mac,
		       const std::optional<uint32_t> &mtu)
{
	rtnl_link_set_name(link, name.c_str());
	if (mac)
		rtnl_link_set_addr(link, mac.get());
	if (mtu)
		rtnl_link_set_mtu(link, *mtu);
}

static void set_flag(rtnl_link *link, unsigned flag, bool on)
{
	if (on)
		rtnl_link_set_flags(link, flag);
	else
		rtnl_link_unset_flags(link, flag);
}

/* {alias?, addrGenMode?} */
static void set_alias_and_mode(Napi::Env env, rtnl_link *link, const Options &options)
{
	if (auto alias = options.alias_if("alias"))
		rtnl_link_set_ifalias(link, alias->c_str());
	auto mode = options.text_if("addrGenMode");
	if (!mode)
		return;
	if (*mode != "none" && *mode != "eui64")
		throw Napi::RangeError::New(env, "addrGenMode must be none or eui64");
	check_libnl(rtnl_link_inet6_set_addr_gen_mode(link, *mode == "none" ? IN6_ADDR_GEN_MODE_NONE
									    : IN6_ADDR_GEN_MODE_EUI64),
		    "build", "link");
}

/* {arpIgnore?, acceptRedirects?, acceptSourceRoute?, dropUnicastInL2Multicast?}: net.ipv4.conf of the link */
static void set_ipv4_conf(rtnl_link *link, const Options &options)
{
	static constexpr std::pair<const char *, unsigned> settings[] = {
	    {"arpIgnore", IPV4_DEVCONF_ARP_IGNORE},
	    {"acceptRedirects", IPV4_DEVCONF_ACCEPT_REDIRECTS},
	    {"acceptSourceRoute", IPV4_DEVCONF_ACCEPT_SOURCE_ROUTE},
	    {"dropUnicastInL2Multicast", IPV4_DEVCONF_DROP_UNICAST_IN_L2_MULTICAST},
	};
	for (const auto &[name, setting] : settings) {
		if (auto value = options.number_if(name))
			check_libnl(rtnl_link_inet_set_conf(link, setting, *value), "build", "link");
	}
}

/* (socket, {name, peerName, peerNetnsFd?, mac?, peerMac?, mtu?, alias?, addrGenMode?, and of
 * set_ipv4_conf()}): its index and its peer's */
static Napi::Value link_create_veth(const Napi::CallbackInfo &info)
{
	RouteSocket &route = unwrap<RouteSocket>(info, 0);
	Options options(info[1]);
	LinkPtr link(check_allocated(rtnl_link_veth_alloc(), "create", "veth"));
	LinkPtr peer(rtnl_link_veth_get_peer(link.get()));
	std::optional<uint32_t> mtu = options.number_if("mtu");
	set_common(link.get(), options.interface("name"), options.mac_if("mac"), mtu);
	set_common(peer.get(), options.interface("peerName"), options.mac_if("peerMac"), mtu);
	if (std::optional<int> fd = options.fd_if("peerNetnsFd"))
		rtnl_link_set_ns_fd(peer.get(), *fd);
	/* Unless told, the kernel makes queues for every CPU, and then takes all but the first out of use. */
	for (rtnl_link *end : {link.get(), peer.get()}) {
		rtnl_link_set_num_tx_queues(end, 1);
		rtnl_link_set_num_rx_queues(end, 1);
	}
	LinkPtr settings(check_allocated(rtnl_link_alloc(), "create", "veth"));
	set_alias_and_mode(info.Env(), settings.get(), options);
	set_ipv4_conf(settings.get(), options);
	ObjectPtr made = create_link_with(route, link.get(), settings.get());
	Napi::Object indexes = Napi::Object::New(info.Env());
	indexes.Set("index", rtnl_link_get_ifindex(link_of(made)));
	indexes.Set("peerIndex", rtnl_link_get_link(link_of(made)));
	return indexes;
}

/* (socket, kind, {name, mac?, mtu?, alias?}) */
static Napi::Value link_create(const Napi::CallbackInfo &info)
{
	RouteSocket &route = unwrap<RouteSocket>(info, 0);
	std::string kind = to_text(info[1], "kind");
	Options options(info[2]);
	LinkPtr link(check_allocated(rtnl_link_alloc(), "create", kind));
	check_libnl(rtnl_link_set_type(link.get(), kind.c_str()), "create", kind);
	set_common(link.get(), options.interface("name"), options.mac_if("mac"), options.number_if("mtu"));
	auto alias = options.alias_if("alias");
	if (!alias) {
		create_link(route, link.get());
		return info.Env().Undefined();
	}
	LinkPtr settings(check_allocated(rtnl_link_alloc(), "create", kind));
	rtnl_link_set_ifalias(settings.get(), alias->c_str());
	create_link_with(route, link.get(), settings.get());
	return info.Env().Undefined();
}

/* (socket, nameOrIndex) */
static Napi::Value link_get(const Napi::CallbackInfo &info)
{
	ObjectPtr link = find_link(unwrap<RouteSocket>(info, 0), to_link_key(info[1]));
	return link ? link_info(info.Env(), link_of(link)) : info.Env().Undefined();
}

/* (socket) */
static Napi::Value link_list(const Napi::CallbackInfo &info)
{
	RouteSocket &route = unwrap<RouteSocket>(info, 0);
	MessagePtr message = new_message(RTM_GETLINK, NLM_F_DUMP, ifinfomsg{});
	/* Counters are the greater part of each message. */
	check_libnl(nla_put_u32(message.get(), IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS), "list", "links");
	auto links = route.socket().query(message.get(), "list", route.text("links"));
	Napi::Array result = Napi::Array::New(info.Env(), links.size());
	for (uint32_t i = 0; i < links.size(); i++)
		result.Set(i, link_info(info.Env(), link_of(links[i])));
	return result;
}

/* (socket, nameOrIndex, {up?, mac?, mtu?, name?, alias?, master? (0: none), addrGenMode?, arp?, netnsFd?}) */
static Napi::Value link_set(const Napi::CallbackInfo &info)
{
	constexpr const char *operation = "change";
	RouteSocket &route = unwrap<RouteSocket>(info, 0);
	LinkKey key = to_link_key(info[1]);
	Options options(info[2]);
	std::string object = route.text(key.text());
	LinkPtr changes(check_allocated(rtnl_link_alloc(), operation, object));
	rtnl_link *link = changes.get();

	if (auto up = options.flag_if("up"))
		set_flag(link, IFF_UP, *up);
	if (auto arp = options.flag_if("arp"))
		set_flag(link, IFF_NOARP, !*arp);
	if (auto mac = options.mac_if("mac"))
		rtnl_link_set_addr(link, mac.get());
	if (auto mtu = options.number_if("mtu"))
		rtnl_link_set_mtu(link, *mtu);
	if (auto name = options.interface_if("name"))
		rtnl_link_set_name(link, name->c_str());
	if (auto master = options.number_if("master"))
		rtnl_link_set_master(link, static_cast<int>(*master));
	set_alias_and_mode(info.Env(), link, options);
	if (auto fd = options.fd_if("netnsFd"))
		rtnl_link_set_ns_fd(link, *fd);
	change_link(route, find_index(route, key, operation), link, operation, object);
	return info.Env().Undefined();
}

/* (socket, nameOrIndex) */
static Napi::Value link_delete(const Napi::CallbackInfo &info)
{
	return Napi::Boolean::New(info.Env(),
				  delete_link(unwrap<RouteSocket>(info, 0), to_link_key(info[1])));
}

/* (socket, nameOrIndex): the same off the event loop, with a socket of its own */
static Napi::Value link_delete_async(const Napi::CallbackInfo &info)
{
	LinkKey key = to_link_key(info[1]);
	NetnsScope scope(unwrap<RouteSocket>(info, 0).netns().get());
	auto route = std::make_shared<RouteSocket>();
	return run_async<bool>(
	    info.Env(), [route, key] { return delete_link(*route, key); },
	    [](Napi::Env env, bool &deleted) -> Napi::Value { return Napi::Boolean::New(env, deleted); });
}

void define_links(Napi::Env env, Napi::Object exports)
{
	define<link_create_veth>(env, exports, "linkCreateVeth");
	define<link_create>(env, exports, "linkCreate");
	define<link_get>(env, exports, "linkGet");
	define<link_list>(env, exports, "linkList");
	define<link_set>(env, exports, "linkSet");
	define<link_delete>(env, exports, "linkDelete");
	define<link_delete_async>(env, exports, "linkDeleteAsync");
}
