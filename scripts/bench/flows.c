// SPDX-License-Identifier: MIT
// Sends UDP datagrams of which each begins a flow, as frames on an interface, and tells what one took.
//
//   flows INTERFACE SOURCE-MAC DESTINATION-MAC SOURCE RULES CPU
//
// Rule n of RULES allows the addresses 20.0.0.0 + 16 n + 4 to + 15 and port 443. Reads lines "FLOWS FIRST"
// from standard input; answers each with nanoseconds per datagram: from the call that sends it until it has
// left the last interface, as everything on its way runs on the one CPU before the call returns. FIRST
// numbers the flows, so that none comes twice.
#include "tool.h"

#include <arpa/inet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <netpacket/packet.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#define RANGES_FROM 0x14000000u
#define PORT	    443
#define FIRST_PORT  1024
#define PORTS	    64000
#define PAYLOAD	    16

struct frame {
	struct ether_header ether;
	struct iphdr ip;
	struct udphdr udp;
	char payload[PAYLOAD];
} __attribute__((packed));

static uint16_t header_checksum(struct iphdr ip)
{
	uint16_t words[sizeof(ip) / 2];
	uint32_t sum = 0;

	memcpy(words, &ip, sizeof(ip));
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		sum += words[i];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static struct frame frame_from(char **argv)
{
	struct frame frame = {.ether.ether_type = htons(ETHERTYPE_IP)};
	struct ether_addr *source = ether_aton(argv[2]);

	memcpy(frame.ether.ether_shost, source, ETH_ALEN);
	memcpy(frame.ether.ether_dhost, ether_aton(argv[3]), ETH_ALEN);
	frame.ip.version = 4;
	frame.ip.ihl = sizeof(frame.ip) / 4;
	frame.ip.ttl = 64;
	frame.ip.protocol = IPPROTO_UDP;
	frame.ip.tot_len = htons(sizeof(frame) - sizeof(frame.ether));
	frame.ip.saddr = inet_addr(argv[4]);
	frame.udp.dest = htons(PORT);
	frame.udp.len = htons(sizeof(frame.udp) + PAYLOAD);
	return frame;
}

// Rules and ports in an order that no cache can foresee.
static void become_flow(struct frame *frame, uint32_t number, uint32_t rules)
{
	uint32_t rule = (uint32_t)((number * 2654435761u) % rules);

	frame->ip.daddr = htonl(RANGES_FROM + 16 * rule + 4 + number % 12);
	frame->udp.source = htons((uint16_t)(FIRST_PORT + number % PORTS));
	frame->ip.check = 0;
	frame->ip.check = header_checksum(frame->ip);
}

int main(int argc, char **argv)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_halen = ETH_ALEN};
	unsigned int flows, first;
	struct frame frame;
	uint32_t rules;
	cpu_set_t cpus;
	int fd;

	if (argc != 7)
		return 2;
	CPU_ZERO(&cpus);
	CPU_SET((size_t)atoi(argv[6]), &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus))
		die("sched_setaffinity");
	rules = (uint32_t)atoi(argv[5]);
	frame = frame_from(argv);
	to.sll_ifindex = (int)if_nametoindex(argv[1]);
	memcpy(to.sll_addr, frame.ether.ether_dhost, ETH_ALEN);
	fd = socket(AF_PACKET, SOCK_RAW, 0);
	if (fd < 0 || !to.sll_ifindex)
		die(argv[1]);
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("ready");
	while (scanf("%u %u", &flows, &first) == 2) {
		long long begin = now_ns();

		for (unsigned int i = 0; i < flows; i++) {
			become_flow(&frame, first + i, rules);
			if (sendto(fd, &frame, sizeof(frame), 0, (struct sockaddr *)&to, sizeof(to)) < 0)
				die("sendto");
		}
		printf("%.0f\n", (double)(now_ns() - begin) / flows);
	}
	return 0;
}
