/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Multicast and broadcast. `groups` without arguments tells how it is called. */
#include "place.h"

#define DATAGRAM_MAX 65536

static const char USAGE[] = "groups join INTERFACE ADDRESS PORT       prints `ready`, then each datagram to "
			    "the group or broadcast address\n"
			    "groups cast INTERFACE ADDRESS PORT TEXT  sends one datagram to it\n";

static int join(const char *interface, const char *address, const char *port)
{
	struct place place = place_of(address, port);
	bool v6 = place.address.ss_family == AF_INET6;
	int fd = socket(place.address.ss_family, SOCK_DGRAM, 0), on = 1;
	unsigned int index = if_nametoindex(interface);
	struct group_req group = {.gr_interface = index};
	static char bytes[DATAGRAM_MAX];
	ssize_t got;

	memcpy(&group.gr_group, &place.address, place.length);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&place.address, place.length) ||
	    (place.is_multicast &&
	     setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, MCAST_JOIN_GROUP, &group, sizeof(group))))
		fail("join");
	say("ready");
	while ((got = recv(fd, bytes, sizeof(bytes) - 1, 0)) >= 0) {
		bytes[got] = 0;
		say(bytes);
	}
	return 1;
}

static int cast(const char *interface, const char *address, const char *port, const char *text)
{
	struct place place = place_of(address, port);
	bool v6 = place.address.ss_family == AF_INET6;
	int fd = socket(place.address.ss_family, SOCK_DGRAM, 0), on = 1;
	struct ip_mreqn by = {.imr_ifindex = (int)if_nametoindex(interface)};

	setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on));
	if (v6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &by.imr_ifindex, sizeof(by.imr_ifindex));
	else
		setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &by, sizeof(by));
	if (sendto(fd, text, strlen(text), 0, (struct sockaddr *)&place.address, place.length) < 0)
		fail("sendto");
	return 0;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";

	if (!strcmp(verb, "join") && argc == 5)
		return join(argv[2], argv[3], argv[4]);
	if (!strcmp(verb, "cast") && argc == 6)
		return cast(argv[2], argv[3], argv[4], argv[5]);
	fputs(USAGE, stderr);
	return 2;
}
