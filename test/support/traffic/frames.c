/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Frames as they are, past every socket: what a container with its own hands on its interface can send, and
 * what really reaches an interface. `frames` without arguments tells how it is called.
 */
#include "place.h"

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <sys/uio.h>

#define FRAME_MAX      65536
#define RECEIVE_BUFFER (64 << 20)
#define IDLE_MS	       100 /* a signal between the look at `stopping` and poll() is noticed after this */

static const char USAGE[] =
    "frames send INTERFACE            sends each line of standard input, a frame in hexadecimal\n"
    "frames leave INTERFACE START AT  sends the same, and leaves a checksum to the card: of what is behind\n"
    "                                 START bytes, to be written AT bytes from there\n"
    "frames capture                   prints `ready`, then each frame that any interface but lo receives, "
    "as\n"
    "                                 `INTERFACE HEX`, until SIGTERM and until none is left\n";

static size_t bytes_of(const char *hex, unsigned char *bytes)
{
	size_t length = 0;
	unsigned int byte;

	while (length < FRAME_MAX && sscanf(hex + 2 * length, "%2x", &byte) == 1)
		bytes[length++] = (unsigned char)byte;
	return length;
}

static int packet_socket(int protocol)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons((unsigned short)protocol));

	if (fd < 0)
		fail("socket");
	return fd;
}

/* sum: what is said of the checksum with each frame; NULL: it is there. */
static int send_lines(const char *interface, struct virtio_net_hdr *sum)
{
	int on = 1;
	struct iovec parts[] = {{.iov_base = sum, .iov_len = sum ? sizeof(*sum) : 0}, {}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
	static char line[2 * FRAME_MAX + 2];
	static unsigned char frame[FRAME_MAX];
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(interface)};
	int fd = packet_socket(0);

	if (!to.sll_ifindex)
		fail(interface);
	if (sum && setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)))
		fail("PACKET_VNET_HDR");
	message.msg_name = &to;
	message.msg_namelen = sizeof(to);
	while (fgets(line, sizeof(line), stdin)) {
		parts[1] = (struct iovec){.iov_base = frame, .iov_len = bytes_of(line, frame)};
		if (sendmsg(fd, &message, 0) != (ssize_t)(parts[0].iov_len + parts[1].iov_len))
			fail("sendmsg");
	}
	return 0;
}

/* The kernel takes a VLAN tag out of the frame and hands it over beside it. */
static const struct tpacket_auxdata *auxdata_of(struct msghdr *message)
{
	for (struct cmsghdr *item = CMSG_FIRSTHDR(message); item; item = CMSG_NXTHDR(message, item))
		if (item->cmsg_level == SOL_PACKET && item->cmsg_type == PACKET_AUXDATA)
			return (struct tpacket_auxdata *)CMSG_DATA(item);
	return NULL;
}

static void print_frame(int fd)
{
	static unsigned char frame[FRAME_MAX];
	char control[256], name[IF_NAMESIZE];
	struct sockaddr_ll from;
	struct iovec part = {.iov_base = frame, .iov_len = sizeof(frame)};
	struct msghdr message = {.msg_name = &from,
				 .msg_namelen = sizeof(from),
				 .msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = control,
				 .msg_controllen = sizeof(control)};
	ssize_t length = recvmsg(fd, &message, MSG_DONTWAIT);
	const struct tpacket_auxdata *auxdata;

	if (length < 2 * ETH_ALEN || from.sll_pkttype == PACKET_OUTGOING ||
	    from.sll_pkttype == PACKET_LOOPBACK || from.sll_hatype == 772 /* ARPHRD_LOOPBACK */)
		return;
	auxdata = auxdata_of(&message);
	printf("%s ", if_indextoname((unsigned int)from.sll_ifindex, name) ? name : "?");
	for (ssize_t i = 0; i < length; i++) {
		if (i == 2 * ETH_ALEN && auxdata && auxdata->tp_status & TP_STATUS_VLAN_VALID)
			printf("8100%04x", auxdata->tp_vlan_tci);
		printf("%02x", frame[i]);
	}
	putchar('\n');
	fflush(stdout);
}

static int capture(void)
{
	int fd = packet_socket(ETH_P_ALL), on = 1, size = RECEIVE_BUFFER;
	struct pollfd poller = {.fd = fd, .events = POLLIN};
	struct tpacket_stats statistics;
	socklen_t length = sizeof(statistics);

	setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	say("ready");
	for (;;) {
		int waiting = poll(&poller, 1, stopping ? 0 : IDLE_MS);

		if (waiting > 0)
			print_frame(fd);
		else if (stopping)
			break;
	}
	if (getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &statistics, &length) || statistics.tp_drops) {
		fprintf(stderr, "the capture has gaps\n");
		return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";

	if (!strcmp(verb, "capture") && argc == 2) {
		stop_on_sigterm();
		return capture();
	}
	if (!strcmp(verb, "send") && argc == 3)
		return send_lines(argv[2], NULL);
	if (!strcmp(verb, "leave") && argc == 5) {
		struct virtio_net_hdr sum = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
					     .csum_start = (__u16)atoi(argv[3]),
					     .csum_offset = (__u16)atoi(argv[4])};

		return send_lines(argv[2], &sum);
	}
	fputs(USAGE, stderr);
	return 2;
}
