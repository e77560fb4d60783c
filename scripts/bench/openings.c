// SPDX-License-Identifier: MIT
// Opens TCP connections without sockets: sends the SYN of each, as a frame on an interface, and tells what
// one took.
//
//   openings INTERFACE SOURCE-MAC DESTINATION-MAC SOURCE DESTINATION PORT varies-source|varies-destination
//   CPU
//
// Reads numbers from standard input, and for each opens 500 connections, which count from that number: the
// same number is the same connection. Answers with nanoseconds per connection: from the call that sends the
// SYN until nobody has anything more to say, as everything that follows from it (openings.bpf.c) runs on the
// one CPU before the call returns. The address that varies is one of 256, by its last byte.
#include "tool.h"

#include <arpa/inet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <netpacket/packet.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#define STEP_MARK  0x5e00 // as in openings.bpf.c
#define FIRST	   1000
#define ADDRESSES  256
#define FIRST_PORT 1024
#define PORTS	   60000
#define HOPS	   64
#define BATCH	   25
#define BATCHES	   20

struct ends {
	bool ip4, varies_source;
	uint8_t source[16], destination[16];
	uint16_t port;
};

static uint32_t add_words(const void *data, size_t length, uint32_t sum)
{
	for (size_t at = 0; at < length; at += 2) {
		uint16_t word;

		memcpy(&word, (const char *)data + at, sizeof(word));
		sum += word;
	}
	return sum;
}

static uint16_t checksum(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void vary(struct ends *ends, uint32_t number)
{
	uint8_t *address = ends->varies_source ? ends->source : ends->destination;

	address[ends->ip4 ? 3 : 15] = (uint8_t)(number % ADDRESSES);
}

// The SYN of a connection behind its Ethernet header; returns the frame's length.
static size_t write_syn(uint8_t *frame, const struct ends *ends, uint32_t number)
{
	size_t width = ends->ip4 ? 4 : 16, header = ends->ip4 ? sizeof(struct ip) : sizeof(struct ip6_hdr);
	struct tcphdr tcp = {.source = htons((uint16_t)(FIRST_PORT + number % PORTS)),
			     .dest = htons(ends->port),
			     .seq = htonl(FIRST),
			     .doff = sizeof(tcp) / 4,
			     .syn = 1,
			     .window = htons(1024),
			     .urg_ptr = htons(STEP_MARK)};
	uint32_t sum = htons(IPPROTO_TCP) + htons(sizeof(tcp));

	sum = add_words(ends->source, width, sum);
	sum = add_words(ends->destination, width, sum);
	tcp.check = checksum(add_words(&tcp, sizeof(tcp), sum));
	if (ends->ip4) {
		struct ip ip = {.ip_v = 4,
				.ip_hl = sizeof(ip) / 4,
				.ip_len = htons(sizeof(ip) + sizeof(tcp)),
				.ip_ttl = HOPS,
				.ip_p = IPPROTO_TCP};

		memcpy(&ip.ip_src, ends->source, width);
		memcpy(&ip.ip_dst, ends->destination, width);
		ip.ip_sum = checksum(add_words(&ip, sizeof(ip), 0));
		memcpy(frame + ETH_HLEN, &ip, sizeof(ip));
	} else {
		struct ip6_hdr ip = {.ip6_flow = htonl(6u << 28),
				     .ip6_plen = htons(sizeof(tcp)),
				     .ip6_nxt = IPPROTO_TCP,
				     .ip6_hlim = HOPS};

		memcpy(&ip.ip6_src, ends->source, width);
		memcpy(&ip.ip6_dst, ends->destination, width);
		memcpy(frame + ETH_HLEN, &ip, sizeof(ip));
	}
	memcpy(frame + ETH_HLEN + header, &tcp, sizeof(tcp));
	return ETH_HLEN + header + sizeof(tcp);
}

static void open_connections(int fd, const struct sockaddr_ll *to, uint8_t *frame, struct ends *ends,
			     unsigned int first, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		size_t length;

		vary(ends, first + i);
		length = write_syn(frame, ends, first + i);
		if (sendto(fd, frame, length, 0, (const struct sockaddr *)to, sizeof(*to)) < 0)
			die("sendto");
	}
}

static int compare(const void *left, const void *right)
{
	double difference = *(const double *)left - *(const double *)right;

	return (difference > 0) - (difference < 0);
}

// Nanoseconds of a connection: the median over batches that are so short that whoever else wants the CPU
// interrupts few.
static double measure(int fd, const struct sockaddr_ll *to, uint8_t *frame, struct ends *ends,
		      unsigned int first)
{
	double batches[BATCHES];

	for (unsigned int at = 0; at < BATCHES; at++) {
		long long begin = now_ns();

		open_connections(fd, to, frame, ends, first + at * BATCH, BATCH);
		batches[at] = (double)(now_ns() - begin) / BATCH;
	}
	qsort(batches, BATCHES, sizeof(*batches), compare);
	return batches[BATCHES / 2];
}

static void pin_to(int cpu)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET((size_t)cpu, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus))
		die("sched_setaffinity");
}

int main(int argc, char **argv)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_halen = ETH_ALEN};
	uint8_t frame[ETH_HLEN + sizeof(struct ip6_hdr) + sizeof(struct tcphdr)];
	struct ether_header ether;
	unsigned int first;
	struct ends ends;
	int fd, family;

	if (argc != 9)
		return 2;
	pin_to(atoi(argv[8]));
	ends.ip4 = !strchr(argv[4], ':');
	ends.port = (uint16_t)atoi(argv[6]);
	ends.varies_source = !strcmp(argv[7], "varies-source");
	family = ends.ip4 ? AF_INET : AF_INET6;
	if (inet_pton(family, argv[4], ends.source) != 1 || inet_pton(family, argv[5], ends.destination) != 1)
		return 2;
	memcpy(ether.ether_shost, ether_aton(argv[2]), ETH_ALEN);
	memcpy(ether.ether_dhost, ether_aton(argv[3]), ETH_ALEN);
	ether.ether_type = htons(ends.ip4 ? ETHERTYPE_IP : ETHERTYPE_IPV6);
	memcpy(frame, &ether, sizeof(ether));
	to.sll_ifindex = (int)if_nametoindex(argv[1]);
	memcpy(to.sll_addr, ether.ether_dhost, ETH_ALEN);
	fd = socket(AF_PACKET, SOCK_RAW, 0);
	if (fd < 0 || !to.sll_ifindex)
		die(argv[1]);
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("ready");
	while (scanf("%u", &first) == 1)
		printf("%.0f\n", measure(fd, &to, frame, &ends, first));
	return 0;
}
