/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Asks without end to be let in where nothing may come in, and looks whether anything does. */
#include "account.h"

#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <stddef.h>

#define FRAME_MAX  65536
#define PENDING	   64
#define BUFFER_MAX (64 << 20)

static const char USAGE[] =
    "probes send ADDRESS PORT PER_SECOND  SYN and UDP datagrams, as many of each\n"
    "probes watch INTERFACE ADDRESS       counts the packets that come in from ADDRESS\n";

struct account {
	uint64_t datagrams, syns, opened, answered;
};

static void report_probe(const struct account *account)
{
	printf("{\"datagrams\":%lu,\"syns\":%lu,\"opened\":%lu,\"answered\":%lu}\n", account->datagrams,
	       account->syns, account->opened, account->answered);
	fflush(stdout);
}

/* What became of an attempt to connect, when its place is needed for the next one. */
static void judge(int fd, struct account *account)
{
	struct pollfd poller = {.fd = fd, .events = POLLOUT};
	int error = 0;
	socklen_t length = sizeof(error);

	if (poll(&poller, 1, 0) > 0) {
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
		if (!error)
			account->opened++;
		else if (error == ECONNREFUSED)
			account->answered++;
	}
	close(fd);
}

static int probe(const char *address, const char *port, uint64_t per_second)
{
	struct place place = place_of(address, port);
	int udp = socket_at(&place, SOCK_DGRAM), attempts[PENDING];
	struct account account = {};
	uint64_t start = now_ns();

	memset(attempts, -1, sizeof(attempts));
	connect_to(udp, &place);
	say("ready");
	while (!stopping) {
		int *slot = &attempts[account.syns % PENDING];

		if (question())
			report_probe(&account);
		if (!sleep_until(start + account.syns * 1000000000 / per_second))
			continue;
		if (send(udp, "probe", 5, 0) < 0 && errno == ECONNREFUSED)
			account.answered++;
		account.datagrams++;
		if (*slot >= 0)
			judge(*slot, &account);
		*slot = socket_at(&place, SOCK_STREAM | SOCK_NONBLOCK);
		if (!connect(*slot, (struct sockaddr *)&place.address, place.length))
			account.opened++;
		account.syns++;
	}
	for (int i = 0; i < PENDING; i++)
		if (attempts[i] >= 0)
			judge(attempts[i], &account);
	report_probe(&account);
	return 0;
}

static void report_watch(uint64_t frames)
{
	printf("{\"frames\":%lu}\n", frames);
	fflush(stdout);
}

/* Whether an IP packet says that it comes from there. */
static bool is_from(const struct place *place, const unsigned char *packet, size_t length)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&place->address;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&place->address;

	if (place->address.ss_family == AF_INET)
		return length >= sizeof(struct iphdr) && packet[0] >> 4 == 4 &&
		       !memcmp(packet + offsetof(struct iphdr, saddr), &v4->sin_addr, 4);
	return length >= sizeof(struct ip6_hdr) && packet[0] >> 4 == 6 &&
	       !memcmp(packet + offsetof(struct ip6_hdr, ip6_src), &v6->sin6_addr, 16);
}

static int watch(const char *interface, const char *address)
{
	static unsigned char frame[FRAME_MAX];
	struct place place = place_of(address, "0");
	struct sockaddr_ll from = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	int fd = socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_ALL)), size = BUFFER_MAX;
	uint64_t frames = 0;

	from.sll_ifindex = (int)if_nametoindex(interface);
	if (fd < 0 || !from.sll_ifindex || bind(fd, (struct sockaddr *)&from, sizeof(from)) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)))
		fail(interface);
	bound_wait(fd);
	say("ready");
	for (;;) {
		socklen_t length = sizeof(from);
		ssize_t got = recvfrom(fd, frame, sizeof(frame), stopping ? MSG_DONTWAIT : 0,
				       (struct sockaddr *)&from, &length);

		if (question())
			report_watch(frames);
		if (got < 0 && came_to_nothing() && !stopping)
			continue;
		if (got < 0)
			break;
		if (from.sll_pkttype != PACKET_OUTGOING && is_from(&place, frame, (size_t)got))
			frames++;
	}
	report_watch(frames);
	return 0;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";

	listen_to_signals();
	if (!strcmp(verb, "send") && argc == 5)
		return probe(argv[2], argv[3], strtoul(argv[4], NULL, 10));
	if (!strcmp(verb, "watch") && argc == 4)
		return watch(argv[2], argv[3]);
	fputs(USAGE, stderr);
	return 2;
}
