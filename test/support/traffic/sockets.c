/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Ordinary clients and servers for containers of tests: they use nothing but sockets, so what they see is
 * what any program in a container sees. `sockets` without arguments tells how it is called.
 */
#include "place.h"

#include <fcntl.h>
#include <netinet/udp.h>
#include <sys/prctl.h>

#define DATAGRAM_MAX 65536
#define CHUNK	     65536

static const char USAGE[] =
    "sockets serve tcp:PORT|udp:PORT...                 echo, both families; prints `ready`\n"
    "sockets dial tcp|udp ADDRESS PORT TIMEOUT_MS BYTES [SOURCE_PORT] sends BYTES, prints open (echoed), "
    "refused,\n"
    "                                                   blocked (nothing came back) or the error\n"
    "sockets pipe ADDRESS PORT                          TCP to and from standard input and output\n"
    "sockets spray ADDRESS PORT TIMEOUT_MS COUNT BYTES [SEGMENT] sends COUNT datagrams by one socket, which "
    "the "
    "kernel\n"
    "                       cuts into those of SEGMENT bytes; prints how many it took before it had no room "
    "for "
    "so long\n";

static void write_all(int fd, const char *bytes, size_t length)
{
	while (length) {
		ssize_t done = write(fd, bytes, length);

		if (done < 0 && errno == EAGAIN) {
			poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1);
			continue;
		}
		if (done <= 0)
			exit(0);
		bytes += done;
		length -= (size_t)done;
	}
}

/* The child ends with us, however we end. */
static pid_t fork_with_parent(void)
{
	pid_t child = fork();

	if (!child)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return child;
}

static void echo_stream(int connection)
{
	static char bytes[CHUNK];
	ssize_t got;

	while ((got = read(connection, bytes, sizeof(bytes))) > 0)
		write_all(connection, bytes, (size_t)got);
	exit(0);
}

static void echo_datagram(int fd)
{
	static char bytes[DATAGRAM_MAX];
	struct sockaddr_storage from;
	socklen_t length = sizeof(from);
	ssize_t got = recvfrom(fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&from, &length);

	if (got >= 0)
		sendto(fd, bytes, (size_t)got, 0, (struct sockaddr *)&from, length);
}

static int listen_at(const char *what)
{
	bool tcp = !strncmp(what, "tcp:", 4);
	struct place any = place_of("::", what + 4);
	int fd = socket(AF_INET6, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0), on = 1, off = 0;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) ||
	    bind(fd, (struct sockaddr *)&any.address, any.length) || (tcp && listen(fd, 128)))
		fail(what);
	return fd;
}

static int serve(int count, char **what)
{
	struct pollfd *fds = calloc((size_t)count, sizeof(*fds));

	signal(SIGCHLD, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < count; i++)
		fds[i] = (struct pollfd){.fd = listen_at(what[i]), .events = POLLIN};
	say("ready");
	while (poll(fds, (nfds_t)count, -1) > 0) {
		for (int i = 0; i < count; i++) {
			int connection;

			if (!fds[i].revents)
				continue;
			if (what[i][0] == 'u') {
				echo_datagram(fds[i].fd);
				continue;
			}
			connection = accept(fds[i].fd, NULL, NULL);
			if (connection >= 0 && !fork_with_parent())
				echo_stream(connection);
			close(connection);
		}
	}
	return 1;
}

/* Waits for events on a socket until the deadline passes: false. */
static bool wait_for(int fd, short events, int timeout_ms)
{
	struct pollfd poller = {.fd = fd, .events = events};

	return poll(&poller, 1, timeout_ms) > 0;
}

static const char *name_of(int error)
{
	return error == ECONNREFUSED ? "refused" : strerrorname_np(error);
}

static const char *exchange(int fd, bool tcp, int timeout_ms, size_t size)
{
	static char sent[DATAGRAM_MAX], got[DATAGRAM_MAX];
	size_t have = 0;

	for (size_t i = 0; i < size; i++)
		sent[i] = (char)(i * 31 + i / 251);
	if (send(fd, sent, size, MSG_NOSIGNAL) != (ssize_t)size)
		return name_of(errno);
	while (have < size) {
		ssize_t now;

		if (!wait_for(fd, POLLIN, timeout_ms))
			return "blocked";
		now = recv(fd, got + have, sizeof(got) - have, 0);
		if (now < 0)
			return name_of(errno);
		have += (size_t)now;
		if (!now || !tcp)
			break;
	}
	return have == size && !memcmp(sent, got, size) ? "open" : "altered";
}

static const char *dial(const char *protocol, const char *address, const char *port, int timeout_ms,
			size_t size, const char *from)
{
	struct place place = place_of(address, port);
	bool tcp = !strcmp(protocol, "tcp");
	int fd = socket(place.address.ss_family, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK, 0);
	int error = 0;
	socklen_t length = sizeof(error);

	if (fd < 0)
		fail("socket");
	if (from) {
		struct place own = place_of(place.address.ss_family == AF_INET ? "0.0.0.0" : "::", from);

		if (bind(fd, (struct sockaddr *)&own.address, own.length))
			fail("bind");
	}
	if (connect(fd, (struct sockaddr *)&place.address, place.length) && errno != EINPROGRESS)
		return name_of(errno);
	if (tcp) {
		if (!wait_for(fd, POLLOUT, timeout_ms))
			return "blocked";
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
		if (error)
			return name_of(error);
	}
	fcntl(fd, F_SETFL, 0);
	return exchange(fd, tcp, timeout_ms, size);
}

static int pipe_through(const char *address, const char *port)
{
	static char bytes[CHUNK];
	struct place place = place_of(address, port);
	int fd = socket(place.address.ss_family, SOCK_STREAM, 0);
	struct pollfd fds[2] = {{.fd = fd, .events = POLLIN}, {.fd = 0, .events = POLLIN}};

	if (fd < 0 || connect(fd, (struct sockaddr *)&place.address, place.length))
		fail("connect");
	fprintf(stderr, "connected\n");
	/* A write may wait for the other side to read, and the other side for us: reading goes on in a child.
	 */
	if (!fork_with_parent()) {
		ssize_t got;

		while ((got = read(0, bytes, sizeof(bytes))) > 0)
			write_all(fd, bytes, (size_t)got);
		shutdown(fd, SHUT_WR);
		exit(0);
	}
	for (;;) {
		ssize_t got = read(fds[0].fd, bytes, sizeof(bytes));

		if (got < 0)
			fail("read");
		if (!got)
			return 0;
		write_all(1, bytes, (size_t)got);
	}
}

static int spray(const char *address, const char *port, int timeout_ms, int count, size_t size, int segment)
{
	static char bytes[DATAGRAM_MAX];
	struct place place = place_of(address, port);
	int fd = socket(place.address.ss_family, SOCK_DGRAM | SOCK_NONBLOCK, 0), taken = 0;

	if (fd < 0 || connect(fd, (struct sockaddr *)&place.address, place.length))
		fail("connect");
	if (segment && setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof(segment)))
		fail("UDP_SEGMENT");
	while (taken < count) {
		ssize_t done = send(fd, bytes, size, 0);

		/* What somebody answers to a datagram before is none of ours. */
		if (done < 0 && errno == ECONNREFUSED)
			continue;
		if (done < 0 && errno != EAGAIN)
			fail("send");
		if (done < 0 && !wait_for(fd, POLLOUT, timeout_ms))
			break;
		taken += done >= 0;
	}
	printf("%d\n", taken);
	return 0;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";

	if (!strcmp(verb, "serve") && argc > 2)
		return serve(argc - 2, argv + 2);
	if (!strcmp(verb, "dial") && (argc == 7 || argc == 8)) {
		say(dial(argv[2], argv[3], argv[4], atoi(argv[5]), (size_t)atoi(argv[6]),
			 argc == 8 ? argv[7] : NULL));
		return 0;
	}
	if (!strcmp(verb, "pipe") && argc == 4)
		return pipe_through(argv[2], argv[3]);
	if (!strcmp(verb, "spray") && (argc == 7 || argc == 8))
		return spray(argv[2], argv[3], atoi(argv[4]), atoi(argv[5]), (size_t)atoi(argv[6]),
			     argc == 8 ? atoi(argv[7]) : 0);
	fputs(USAGE, stderr);
	return 2;
}
