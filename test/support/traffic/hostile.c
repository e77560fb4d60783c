/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * A container that wants a packet through at any price, from before it has an interface: it never pauses.
 * `hostile` without arguments tells how it is called.
 */
#include "place.h"

#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/ioctl.h>

#define FRAMES_MAX 8

static const char USAGE[] =
    "Each prints `ready`, goes on until SIGTERM, and then prints how many packets the kernel took.\n"
    "hostile sockets ADDRESS PORT     sends UDP and opens TCP; prints `answered` too if anybody did\n"
    "hostile frames INTERFACE HEX...  takes the interface up as soon as it is there and sends the frames on "
    "it\n";

static bool is_readable(int fd)
{
	struct pollfd poller = {.fd = fd, .events = POLLIN};

	return poll(&poller, 1, 0) > 0;
}

static int storm_by_sockets(const char *address, const char *port)
{
	struct place place = place_of(address, port);
	const struct sockaddr *target = (struct sockaddr *)&place.address;
	unsigned long taken = 0;
	bool answered = false;
	int udp = socket(place.address.ss_family, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	char byte;

	if (udp < 0)
		fail("socket");
	say("ready");
	while (!stopping) {
		int tcp = socket(place.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);

		if (tcp < 0)
			fail("socket");
		for (int i = 0; i < 16; i++)
			taken += sendto(udp, "storm", 5, 0, target, place.length) == 5;
		taken += connect(tcp, target, place.length) == 0 || errno == EINPROGRESS;
		answered |= is_readable(tcp) && recv(tcp, &byte, 1, 0) >= 0;
		answered |= recv(udp, &byte, 1, 0) > 0;
		close(tcp);
	}
	printf("%lu%s\n", taken, answered ? " answered" : "");
	return 0;
}

static size_t bytes_of(const char *hex, unsigned char *bytes, size_t max)
{
	size_t length = 0;

	while (length < max && sscanf(hex + 2 * length, "%2hhx", &bytes[length]) == 1)
		length++;
	return length;
}

static void take_up(int fd, const char *interface)
{
	struct ifreq request = {};

	strncpy(request.ifr_name, interface, IFNAMSIZ - 1);
	if (ioctl(fd, SIOCGIFFLAGS, &request) || request.ifr_flags & IFF_UP)
		return;
	request.ifr_flags |= IFF_UP;
	ioctl(fd, SIOCSIFFLAGS, &request);
}

static int storm_by_frames(const char *interface, int count, char **hex)
{
	static unsigned char frames[FRAMES_MAX][2048];
	size_t lengths[FRAMES_MAX];
	struct sockaddr_ll to = {.sll_family = AF_PACKET};
	unsigned long taken = 0;
	int fd = socket(AF_PACKET, SOCK_RAW, 0);

	if (fd < 0)
		fail("socket");
	if (count > FRAMES_MAX)
		count = FRAMES_MAX;
	for (int i = 0; i < count; i++)
		lengths[i] = bytes_of(hex[i], frames[i], sizeof(frames[i]));
	say("ready");
	while (!stopping) {
		if (!to.sll_ifindex)
			to.sll_ifindex = (int)if_nametoindex(interface);
		for (int i = 0; to.sll_ifindex && i < count; i++) {
			ssize_t done = sendto(fd, frames[i], lengths[i], MSG_DONTWAIT, (struct sockaddr *)&to,
					      sizeof(to));

			if (done >= 0)
				taken++;
			else if (errno == ENETDOWN)
				take_up(fd, interface);
			else if (errno == ENXIO || errno == ENODEV)
				to.sll_ifindex = 0;
		}
	}
	printf("%lu\n", taken);
	return 0;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";

	stop_on_sigterm();
	if (!strcmp(verb, "sockets") && argc == 4)
		return storm_by_sockets(argv[2], argv[3]);
	if (!strcmp(verb, "frames") && argc > 3)
		return storm_by_frames(argv[2], argc - 3, argv + 3);
	fputs(USAGE, stderr);
	return 2;
}
