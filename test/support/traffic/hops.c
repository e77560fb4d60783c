/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Traces the way to an address as traceroute does: who answers that a packet came no farther. Errors are read
 * from the socket that sent the probe (ip(7), IP_RECVERR), so only those count that belong to it.
 */
#include "place.h"

#include <linux/errqueue.h>

#define WAIT_MS 3000

static const char USAGE[] =
    "hops udp|tcp ADDRESS PORT COUNT  prints who answers a probe of each hop limit from 1 on: "
    "an address, `reached`, or `silent`\n";

static int probe_socket(const struct place *place, bool tcp, int limit)
{
	bool ip4 = place->address.ss_family == AF_INET;
	int level = ip4 ? IPPROTO_IP : IPPROTO_IPV6, on = 1;
	int fd = socket(place->address.ss_family, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK, 0);

	if (fd < 0 || setsockopt(fd, level, ip4 ? IP_TTL : IPV6_UNICAST_HOPS, &limit, sizeof(limit)) ||
	    setsockopt(fd, level, ip4 ? IP_RECVERR : IPV6_RECVERR, &on, sizeof(on)))
		fail("socket");
	return fd;
}

/* Who said that the probe came no farther; NULL: nobody. */
static const char *offender(int fd)
{
	static char text[INET6_ADDRSTRLEN];
	char control[512];
	struct sockaddr_storage to;
	struct msghdr message = {
	    .msg_name = &to,
	    .msg_namelen = sizeof(to),
	    .msg_control = control,
	    .msg_controllen = sizeof(control),
	};

	if (recvmsg(fd, &message, MSG_ERRQUEUE) < 0)
		return NULL;
	for (struct cmsghdr *part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
		struct sock_extended_err *error = (void *)CMSG_DATA(part);
		struct sockaddr *from = SO_EE_OFFENDER(error);

		if ((part->cmsg_level != IPPROTO_IP || part->cmsg_type != IP_RECVERR) &&
		    (part->cmsg_level != IPPROTO_IPV6 || part->cmsg_type != IPV6_RECVERR))
			continue;
		if (error->ee_errno != EHOSTUNREACH)
			continue;
		return inet_ntop(from->sa_family,
				 from->sa_family == AF_INET
				     ? (void *)&((struct sockaddr_in *)from)->sin_addr
				     : (void *)&((struct sockaddr_in6 *)from)->sin6_addr,
				 text, sizeof(text));
	}
	return NULL;
}

static const char *probe(const struct place *place, bool tcp, int limit)
{
	int fd = probe_socket(place, tcp, limit);
	struct pollfd poller = {.fd = fd, .events = tcp ? POLLOUT : POLLIN};
	const char *found;

	if (connect(fd, (const struct sockaddr *)&place->address, place->length) && errno != EINPROGRESS)
		fail("connect");
	if (!tcp && send(fd, "probe", 5, 0) != 5)
		fail("send");
	if (poll(&poller, 1, WAIT_MS) <= 0) {
		close(fd);
		return "silent";
	}
	found = offender(fd);
	if (!found)
		found = poller.revents & POLLERR ? "refused" : "reached";
	close(fd);
	return found;
}

int main(int argc, char **argv)
{
	struct place place;
	bool tcp;

	if (argc != 5 || (strcmp(argv[1], "udp") && strcmp(argv[1], "tcp"))) {
		fputs(USAGE, stderr);
		return 2;
	}
	tcp = !strcmp(argv[1], "tcp");
	place = place_of(argv[2], argv[3]);
	for (int limit = 1; limit <= atoi(argv[4]); limit++)
		say(probe(&place, tcp, limit));
	return 0;
}
