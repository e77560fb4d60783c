/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Servers that answer with their name, and clients that tell who answered and from where: what a program sees
 * of a port that somebody else serves. `names` without arguments tells how it is called.
 */
#include "place.h"

#define TEXT_MAX 64

static const char USAGE[] =
    "names serve NAME PORT...                             TCP and UDP, both families; prints `ready`\n"
    "names ask tcp|udp|datagram ADDRESS PORT TIMEOUT_MS N asks N times: by a connection each, by a "
    "connected\n"
    "                                                     socket each, or by one socket that is not "
    "connected;\n"
    "                                                     prints `NAME from ADDRESS PORT`, or refused, "
    "blocked\n"
    "                                                     or the error\n";

static int bound_to(int type, const char *port)
{
	struct place any = place_of("::", port);
	int fd = socket(AF_INET6, type | SOCK_CLOEXEC, 0), on = 1, off = 0;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) ||
	    bind(fd, (struct sockaddr *)&any.address, any.length) || (type == SOCK_STREAM && listen(fd, 128)))
		fail(port);
	return fd;
}

static int serve(const char *name, int count, char **ports)
{
	struct pollfd *fds = calloc((size_t)count * 2, sizeof(*fds));

	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < count; i++) {
		fds[2 * i] = (struct pollfd){.fd = bound_to(SOCK_STREAM, ports[i]), .events = POLLIN};
		fds[2 * i + 1] = (struct pollfd){.fd = bound_to(SOCK_DGRAM, ports[i]), .events = POLLIN};
	}
	say("ready");
	while (poll(fds, (nfds_t)count * 2, -1) > 0) {
		for (int i = 0; i < count * 2; i++) {
			struct sockaddr_storage from;
			socklen_t length = sizeof(from);
			char text[TEXT_MAX];
			int fd = fds[i].fd;

			if (!fds[i].revents)
				continue;
			if (i % 2) {
				if (recvfrom(fd, text, sizeof(text), 0, (struct sockaddr *)&from, &length) >=
				    0)
					sendto(fd, name, strlen(name), 0, (struct sockaddr *)&from, length);
				continue;
			}
			fd = accept(fd, NULL, NULL);
			if (fd < 0)
				continue;
			if (write(fd, name, strlen(name)) < 0)
				perror("write");
			close(fd);
		}
	}
	return 1;
}

static void tell(const char *name, size_t length, const struct sockaddr_storage *from)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)from;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)from;
	bool is_ip4 = from->ss_family == AF_INET;
	char text[INET6_ADDRSTRLEN], line[TEXT_MAX + sizeof(text) + 32];

	inet_ntop(from->ss_family, is_ip4 ? (const void *)&v4->sin_addr : (const void *)&v6->sin6_addr, text,
		  sizeof(text));
	snprintf(line, sizeof(line), "%.*s from %s %u", (int)length, name, text,
		 ntohs(is_ip4 ? v4->sin_port : v6->sin6_port));
	say(line);
}

static void tell_error(int error)
{
	say(error == ECONNREFUSED ? "refused" : strerrorname_np(error));
}

static void receive(int fd, bool tcp, int timeout_ms)
{
	struct pollfd poller = {.fd = fd, .events = POLLIN};
	struct sockaddr_storage from = {};
	socklen_t length = sizeof(from);
	char name[TEXT_MAX];
	ssize_t got;

	if (poll(&poller, 1, timeout_ms) <= 0) {
		say("blocked");
		return;
	}
	got = recvfrom(fd, name, sizeof(name), 0, (struct sockaddr *)&from, &length);
	/* A stream's recvfrom() tells no address. */
	length = sizeof(from);
	if (got < 0 || (tcp && getpeername(fd, (struct sockaddr *)&from, &length)))
		tell_error(errno);
	else
		tell(name, (size_t)got, &from);
}

static int opened(const struct place *place, bool tcp)
{
	int fd = socket(place->address.ss_family, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK, 0);

	if (fd < 0)
		fail("socket");
	return fd;
}

/* By a socket that is connected; a datagram's peer must be the one that answers. */
static void ask_connected(const struct place *place, bool tcp, int timeout_ms)
{
	struct sockaddr_storage peer = {};
	socklen_t length = sizeof(peer), size = sizeof(int);
	int fd = opened(place, tcp), error = 0;
	struct pollfd poller = {.fd = fd, .events = POLLOUT};

	if (connect(fd, (const struct sockaddr *)&place->address, place->length) && errno != EINPROGRESS) {
		tell_error(errno);
	} else if (tcp && poll(&poller, 1, timeout_ms) <= 0) {
		say("blocked");
	} else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) || error) {
		tell_error(error ? error : errno);
	} else if (!tcp && (getpeername(fd, (struct sockaddr *)&peer, &length) || send(fd, "?", 1, 0) < 0)) {
		tell_error(errno);
	} else if (!tcp && memcmp(&peer, &place->address, length)) {
		tell("another peer", 12, &peer);
	} else {
		receive(fd, tcp, timeout_ms);
	}
	close(fd);
}

static int ask(const char *how, const struct place *place, int timeout_ms, int count)
{
	bool connects = strcmp(how, "datagram");
	int fd = connects ? -1 : opened(place, false);

	while (count--) {
		if (connects)
			ask_connected(place, !strcmp(how, "tcp"), timeout_ms);
		else if (sendto(fd, "?", 1, 0, (const struct sockaddr *)&place->address, place->length) < 0)
			tell_error(errno);
		else
			receive(fd, false, timeout_ms);
	}
	return 0;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";
	struct place place;

	if (!strcmp(verb, "serve") && argc > 3)
		return serve(argv[2], argc - 3, argv + 3);
	if (!strcmp(verb, "ask") && argc == 7) {
		place = place_of(argv[3], argv[4]);
		return ask(argv[2], &place, atoi(argv[5]), atoi(argv[6]));
	}
	fputs(USAGE, stderr);
	return 2;
}
