/* SPDX-License-Identifier: MIT */
/* Who is at the other end of a TCP connection within this machine. */
#pragma once

#include <netlink/addr.h>
#include <sys/types.h>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

struct SocketAddress {
	const nl_addr *address;
	uint16_t port; /* host order */
};

/*
 * The user that opened the socket whose own address is `own` and whose peer is `other`, in the calling
 * thread's network namespace. Nothing when there is no such connection, or nobody holds it open any more: the
 * kernel reports closed sockets as root's, which must never be believed.
 */
std::optional<uid_t> socket_owner(const SocketAddress &own, const SocketAddress &other);

/* A socket that takes what comes from anybody: TCP that listens, UDP that is not connected. */
struct OpenSocket {
	std::string address; /* 0.0.0.0 or :: when it is bound to none */
	bool v6_only;
	uid_t uid;
	uint32_t inode;
};

/* Those of the port, in the calling thread's network namespace. protocol: IPPROTO_TCP or IPPROTO_UDP. */
std::vector<OpenSocket> open_sockets(uint8_t protocol, uint16_t port);
