// SPDX-License-Identifier: MIT
/* What is set on an interface by ethtool's ioctl and not by rtnetlink. */
#include "args.h"
#include "net_parts.h"
#include "netns.h"
#include "status.h"
#include "unique_fd.h"

#include <algorithm>
#include <cstring>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* (namespace, name, whether packets that come in are put together) */
static Napi::Value link_set_gro(const Napi::CallbackInfo &info)
{
	NetnsScope scope(unwrap<Netns>(info, 0).fd());
	std::string name = to_text(info[1], "name");
	ifreq request = {};
	if (name.empty() || name.size() >= sizeof(request.ifr_name))
		throw Failure{ENODEV, "set GRO of", name};
	ethtool_value value = {.cmd = ETHTOOL_SGRO, .data = info[2].ToBoolean().Value()};
	std::copy(name.begin(), name.end(), request.ifr_name);
	request.ifr_data = reinterpret_cast<char *>(&value);
	UniqueFd fd(check_errno(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "set GRO of", name));
	check_errno(ioctl(fd.get(), SIOCETHTOOL, &request), "set GRO of", name);
	return info.Env().Undefined();
}

void define_ethtool(Napi::Env env, Napi::Object exports)
{
	define<link_set_gro>(env, exports, "linkSetGro");
}
