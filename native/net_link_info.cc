// SPDX-License-Identifier: MIT
#include "net_link_info.h"

#include "net_text.h"

#include <linux/if.h>
#include <linux/if_link.h>
#include <netlink/route/link.h>
#include <netlink/route/link/inet6.h>

#include <string_view>

static const char *oper_state_text(uint8_t state)
{
	switch (state) {
	case IF_OPER_NOTPRESENT:
		return "notpresent";
	case IF_OPER_DOWN:
		return "down";
	case IF_OPER_LOWERLAYERDOWN:
		return "lowerlayerdown";
	case IF_OPER_TESTING:
		return "testing";
	case IF_OPER_DORMANT:
		return "dormant";
	case IF_OPER_UP:
		return "up";
	default:
		return "unknown";
	}
}

Napi::Object link_info(Napi::Env env, rtnl_link *link)
{
	Napi::Object info = Napi::Object::New(env);
	unsigned flags = rtnl_link_get_flags(link);

	info.Set("index", rtnl_link_get_ifindex(link));
	info.Set("name", rtnl_link_get_name(link));
	info.Set("mac", address_text(rtnl_link_get_addr(link)));
	info.Set("mtu", rtnl_link_get_mtu(link));
	info.Set("up", Napi::Boolean::New(env, flags & IFF_UP));
	info.Set("arp", Napi::Boolean::New(env, !(flags & IFF_NOARP)));
	info.Set("operState", oper_state_text(rtnl_link_get_operstate(link)));
	const char *kind = rtnl_link_get_type(link);
	if (kind)
		info.Set("kind", kind);
	if (const char *alias = rtnl_link_get_ifalias(link))
		info.Set("alias", alias);
	if (int master = rtnl_link_get_master(link))
		info.Set("masterIndex", master);
	/* For other kinds IFLA_LINK is not a peer but what the interface sits on. */
	if (int peer = rtnl_link_get_link(link); peer && kind && std::string_view(kind) == "veth")
		info.Set("peerIndex", peer);
	uint8_t mode;
	if (rtnl_link_inet6_get_addr_gen_mode(link, &mode) == 0)
		info.Set("addrGenMode", mode == IN6_ADDR_GEN_MODE_NONE	  ? "none"
					: mode == IN6_ADDR_GEN_MODE_EUI64 ? "eui64"
									  : "stable");
	return info;
}
