// SPDX-License-Identifier: MIT
#include "sockdiag.h"

#include "net_parts.h"
#include "net_text.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <netlink/attr.h>
#include <cstring>

std::optional<uid_t> socket_owner(const SocketAddress &own, const SocketAddress &other)
{
	constexpr const char *operation = "look up owner of";
	std::string object = "TCP connection " + address_text(own.address) + " port " +
			     std::to_string(own.port) + " to " + address_text(other.address) + " port " +
			     std::to_string(other.port);
	inet_diag_req_v2 request = {};
	request.sdiag_family = static_cast<__u8>(nl_addr_get_family(own.address));
	request.sdiag_protocol = IPPROTO_TCP;
	request.idiag_states = ~0U;
	request.id.idiag_sport = htons(own.port);
	request.id.idiag_dport = htons(other.port);
	memcpy(request.id.idiag_src, nl_addr_get_binary_addr(own.address), nl_addr_get_len(own.address));
	memcpy(request.id.idiag_dst, nl_addr_get_binary_addr(other.address), nl_addr_get_len(other.address));
	request.id.idiag_cookie[0] = INET_DIAG_NOCOOKIE;
	request.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;

	std::optional<inet_diag_msg> answer;
	NetlinkSocket socket(NETLINK_SOCK_DIAG);
	MessagePtr message = new_message(SOCK_DIAG_BY_FAMILY, 0, request);
	try {
		socket.exchange(message.get(), operation, object, [&](nlmsghdr *header) {
			if (header->nlmsg_type == SOCK_DIAG_BY_FAMILY &&
			    nlmsg_datalen(header) >= static_cast<int>(sizeof(inet_diag_msg)))
				answer = *static_cast<inet_diag_msg *>(nlmsg_data(header));
		});
	} catch (const Failure &failure) {
		if (failure.error == ENOENT)
			return {};
		throw;
	}
	/*
	 * Without a connection the kernel offers a listening socket on the port. A socket that nobody holds
	 * open (closed by its process, or in TIME-WAIT) has no inode, and its uid reads 0.
	 */
	if (!answer || answer->idiag_inode == 0 || answer->id.idiag_sport != request.id.idiag_sport ||
	    answer->id.idiag_dport != request.id.idiag_dport)
		return {};
	switch (answer->idiag_state) {
	case TCP_ESTABLISHED:
	case TCP_FIN_WAIT1:
	case TCP_FIN_WAIT2:
	case TCP_CLOSE_WAIT:
		return answer->idiag_uid;
	default:
		return {};
	}
}

static void dump_open_sockets(NetlinkSocket &socket, uint8_t family, uint8_t protocol, uint16_t port,
			      std::vector<OpenSocket> &found)
{
	std::string object = "sockets of port " + std::to_string(port);
	inet_diag_req_v2 request = {};
	request.sdiag_family = family;
	request.sdiag_protocol = protocol;
	request.idiag_states = 1U << (protocol == IPPROTO_TCP ? TCP_LISTEN : TCP_CLOSE);
	request.id.idiag_sport = htons(port);
	MessagePtr message = new_message(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, request);
	socket.exchange(message.get(), "look up", object, [&](nlmsghdr *header) {
		if (header->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
		    nlmsg_datalen(header) < static_cast<int>(sizeof(inet_diag_msg)))
			return;
		const auto *entry = static_cast<inet_diag_msg *>(nlmsg_data(header));
		if (entry->id.idiag_sport != request.id.idiag_sport)
			return;
		char text[INET6_ADDRSTRLEN] = "";
		inet_ntop(family, entry->id.idiag_src, text, sizeof(text));
		nlattr *only = nlmsg_find_attr(header, sizeof(inet_diag_msg), INET_DIAG_SKV6ONLY);
		found.push_back({text, only && nla_get_u8(only) != 0, entry->idiag_uid, entry->idiag_inode});
	});
}

std::vector<OpenSocket> open_sockets(uint8_t protocol, uint16_t port)
{
	constexpr int ATTEMPTS = 5;
	NetlinkSocket socket(NETLINK_SOCK_DIAG);
	for (int attempt = 1;; attempt++) {
		std::vector<OpenSocket> found;
		try {
			for (uint8_t family : {AF_INET, AF_INET6})
				dump_open_sockets(socket, family, protocol, port, found);
			return found;
		} catch (const Failure &failure) {
			/* Changed under our eyes. */
			if (failure.error != EINTR || attempt == ATTEMPTS)
				throw;
		}
	}
}

/* A socket that listens on :: shows IPv4 peers as ::ffff:a.b.c.d, but the connection itself is IPv4. */
static AddressPtr unmapped(AddressPtr address)
{
	auto *bytes = static_cast<unsigned char *>(nl_addr_get_binary_addr(address.get()));
	if (nl_addr_get_family(address.get()) != AF_INET6 ||
	    !IN6_IS_ADDR_V4MAPPED(reinterpret_cast<in6_addr *>(bytes)))
		return address;
	return AddressPtr(check_allocated(nl_addr_build(AF_INET, bytes + 12, 4), "build", "address"));
}

static uint16_t read_port(Napi::Env env, const Options &options)
{
	uint32_t port = options.number("port");
	if (port == 0 || port > UINT16_MAX)
		throw Napi::RangeError::New(env, "port must be from 1 to 65535");
	return static_cast<uint16_t>(port);
}

/* ({address, port} of the wanted socket, {address, port} of its peer) */
static Napi::Value sockdiag_owner(const Napi::CallbackInfo &info)
{
	Options own(info[0]);
	Options other(info[1]);
	AddressPtr own_address = unmapped(own.address("address"));
	AddressPtr other_address = unmapped(other.address("address"));
	if (nl_addr_get_family(own_address.get()) != nl_addr_get_family(other_address.get()))
		throw Napi::RangeError::New(info.Env(), "both addresses must be of one address family");
	std::optional<uid_t> owner = socket_owner({own_address.get(), read_port(info.Env(), own)},
						  {other_address.get(), read_port(info.Env(), other)});
	return owner ? Napi::Number::New(info.Env(), *owner) : info.Env().Undefined();
}

/* (protocol, port) */
static Napi::Value sockdiag_open_sockets(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	uint32_t protocol = to_u32(info[0], "protocol");
	uint32_t port = to_u32(info[1], "port");
	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP)
		throw Napi::RangeError::New(env, "protocol must be TCP or UDP");
	if (port == 0 || port > UINT16_MAX)
		throw Napi::RangeError::New(env, "port must be from 1 to 65535");
	std::vector<OpenSocket> found = open_sockets(protocol, port);
	auto result = Napi::Array::New(env, found.size());
	for (uint32_t index = 0; index < found.size(); index++) {
		const OpenSocket &socket = found[index];
		auto entry = Napi::Object::New(env);
		entry.Set("address", socket.address);
		entry.Set("v6Only", socket.v6_only);
		entry.Set("uid", socket.uid);
		entry.Set("inode", socket.inode);
		result.Set(index, entry);
	}
	return result;
}

void define_sockdiag(Napi::Env env, Napi::Object exports)
{
	define<sockdiag_owner>(env, exports, "socketOwner");
	define<sockdiag_open_sockets>(env, exports, "openSockets");
}
