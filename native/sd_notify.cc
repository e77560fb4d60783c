// SPDX-License-Identifier: MIT
/* One datagram to the service manager (sd_notify(3)); Node has no datagram sockets of the Unix family. */
#include "args.h"
#include "status.h"
#include "unique_fd.h"

#include <cstring>
#include <sys/socket.h>
#include <sys/un.h>

/* (path, text): a path that starts with '@' is in the abstract namespace */
static Napi::Value send_datagram(const Napi::CallbackInfo &info)
{
	std::string path = to_text(info[0], "path");
	std::string text = to_text(info[1], "text");
	sockaddr_un address = {};
	address.sun_family = AF_UNIX;
	if (path.empty() || path.size() >= sizeof(address.sun_path))
		throw Failure{ENAMETOOLONG, "notify", path};
	memcpy(address.sun_path, path.data(), path.size());
	if (path[0] == '@')
		address.sun_path[0] = '\0';
	UniqueFd fd(check_errno(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), "notify", path));
	auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
	check_errno(sendto(fd.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
			   reinterpret_cast<sockaddr *>(&address), length),
		    "notify", path);
	return info.Env().Undefined();
}

void init_sd_notify(Napi::Env env, Napi::Object exports)
{
	define<send_datagram>(env, exports, "sendDatagram");
}
