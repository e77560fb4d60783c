/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Packets whose bytes stay in memory that the sender can write, and who has received one without having read
 * it yet. `lent` without arguments tells how it is called.
 */
#include "place.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/mman.h>
#include <sys/uio.h>

#define PAGE 4096
#define ROOM 2048

static const char USAGE[] =
    "lent ring INTERFACE           sends frames by a ring that it shares with the kernel\n"
    "lent spliced ADDRESS PORT     sends UDP with pages of its own as the payload\n"
    "    Both take `send HEX`, then `change OFFSET HEX` for what was sent last, and answer `done`.\n"
    "lent held INTERFACE LENGTH    prints `ready`; prints `waiting` when a frame so long has arrived, reads\n"
    "                              it only after the next line, and prints it in hexadecimal; and so on\n";

/* What the kernel and this program both have, and how the kernel is told that it is to be sent. */
struct loan {
	unsigned char *bytes;
	void (*send)(struct loan *loan, size_t length);
	int socket;
	int pipe[2];
	struct tpacket2_hdr *header;
};

static void send_by_ring(struct loan *loan, size_t length)
{
	loan->header->tp_len = (unsigned int)length;
	__atomic_store_n(&loan->header->tp_status, TP_STATUS_SEND_REQUEST, __ATOMIC_RELEASE);
	if (send(loan->socket, NULL, 0, 0) != (ssize_t)length)
		fail("send");
}

static struct loan loan_of_ring(const char *interface)
{
	struct loan loan = {.send = send_by_ring};
	struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	struct tpacket_req ring = {PAGE, 1, PAGE, 1};
	int version = TPACKET_V2;

	loan.socket = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	at.sll_ifindex = (int)if_nametoindex(interface);
	if (loan.socket < 0 ||
	    setsockopt(loan.socket, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) ||
	    setsockopt(loan.socket, SOL_PACKET, PACKET_TX_RING, &ring, sizeof(ring)) ||
	    bind(loan.socket, (struct sockaddr *)&at, sizeof(at)))
		fail("ring");
	loan.header = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, loan.socket, 0);
	if (loan.header == MAP_FAILED)
		fail("mmap");
	loan.bytes = (unsigned char *)loan.header + TPACKET2_HDRLEN - sizeof(struct sockaddr_ll);
	return loan;
}

static void send_spliced(struct loan *loan, size_t length)
{
	struct iovec part = {.iov_base = loan->bytes, .iov_len = length};

	if (vmsplice(loan->pipe[1], &part, 1, 0) != (ssize_t)length ||
	    splice(loan->pipe[0], NULL, loan->socket, NULL, length, 0) != (ssize_t)length)
		fail("splice");
}

static struct loan loan_of_pages(const char *address, const char *port)
{
	struct loan loan = {.send = send_spliced};
	struct place to = place_of(address, port);

	loan.socket = socket(to.address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (loan.socket < 0 || connect(loan.socket, (struct sockaddr *)&to.address, to.length) ||
	    pipe2(loan.pipe, O_CLOEXEC))
		fail("socket");
	loan.bytes = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (loan.bytes == MAP_FAILED)
		fail("mmap");
	return loan;
}

static size_t write_hex(const char *hex, unsigned char *bytes, size_t room)
{
	size_t length = 0;

	while (length < room && sscanf(hex + 2 * length, "%2hhx", &bytes[length]) == 1)
		length++;
	return length;
}

static int lend(struct loan loan)
{
	static char line[2 * ROOM + 64];
	unsigned int offset;
	int hex;

	say("ready");
	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "change %u %n", &offset, &hex) == 1 && offset < ROOM)
			write_hex(line + hex, loan.bytes + offset, ROOM - offset);
		else if (!strncmp(line, "send ", 5))
			loan.send(&loan, write_hex(line + 5, loan.bytes, ROOM));
		else
			return 2;
		say("done");
	}
	return 0;
}

static int hold(const char *interface, unsigned int length)
{
	struct sock_filter only[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, length, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
	    BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog filter = {.len = 4, .filter = only};
	struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	struct pollfd poller = {.fd = fd, .events = POLLIN};
	static unsigned char frame[ROOM];
	char line[8];
	int on = 1;

	at.sll_ifindex = (int)if_nametoindex(interface);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)) ||
	    bind(fd, (struct sockaddr *)&at, sizeof(at)))
		fail("socket");
	say("ready");
	while (poll(&poller, 1, -1) == 1) {
		ssize_t got;

		say("waiting");
		if (!fgets(line, sizeof(line), stdin))
			return 0;
		got = recv(fd, frame, sizeof(frame), 0);
		if (got < 0)
			fail("recv");
		for (ssize_t i = 0; i < got; i++)
			printf("%02x", frame[i]);
		say("");
	}
	return 1;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";

	if (!strcmp(verb, "ring") && argc == 3)
		return lend(loan_of_ring(argv[2]));
	if (!strcmp(verb, "spliced") && argc == 4)
		return lend(loan_of_pages(argv[2], argv[3]));
	if (!strcmp(verb, "held") && argc == 4)
		return hold(argv[2], (unsigned int)atoi(argv[3]));
	fputs(USAGE, stderr);
	return 2;
}
