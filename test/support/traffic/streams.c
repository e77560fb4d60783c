/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Traffic that goes on while something is done to the daemon, and who counts exactly what of it arrived.
 * SIGUSR1 makes each of them print its account as a line of JSON; SIGTERM ends it with a last one.
 */
#include "account.h"

#include <linux/tcp.h>

#define CHUNK	   65536
#define BUFFER_MAX (64 << 20)

static const char USAGE[] =
    "streams source ADDRESS PORT BYTES_PER_MS  a TCP stream whose every byte is known beforehand\n"
    "streams sink PORT                         receives and compares it; ends with the connection\n"
    "streams pace ADDRESS PORT PER_SECOND      numbered UDP datagrams\n"
    "streams tally PORT                        counts them\n";

/* Word n of the stream: SplitMix64. */
static uint64_t word(uint64_t n)
{
	uint64_t z = (n + 1) * 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

/* The bytes of the stream from an offset on. */
static void pattern(uint64_t offset, unsigned char *bytes, size_t length)
{
	for (size_t i = 0; i < length;) {
		uint64_t value = word((offset + i) / 8);
		size_t from = (offset + i) % 8, count = 8 - from < length - i ? 8 - from : length - i;

		memcpy(bytes + i, (unsigned char *)&value + from, count);
		i += count;
	}
}

static int listen_at(const char *port, int type)
{
	struct place any = place_of("::", port);
	int fd = socket_at(&any, type), on = 1, off = 0;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, (struct sockaddr *)&any.address, any.length) || (type == SOCK_STREAM && listen(fd, 1)))
		fail("listen");
	return fd;
}

static int report_source(int fd, uint64_t sent, int error)
{
	struct tcp_info info = {};
	socklen_t length = sizeof(info);

	getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length);
	/* On a busy machine TCP sends again what only waits; the other side tells that it came twice. */
	printf("{\"sent\":%lu,\"retransmits\":%u,\"needless\":%u,\"error\":\"%s\"}\n", sent,
	       info.tcpi_total_retrans, info.tcpi_dsack_dups, error ? strerrorname_np(error) : "");
	fflush(stdout);
	return error != 0;
}

static int source(const char *address, const char *port, uint64_t bytes_per_ms)
{
	static unsigned char bytes[CHUNK];
	struct place place = place_of(address, port);
	int fd = socket_at(&place, SOCK_STREAM);
	uint64_t sent = 0, start;

	connect_to(fd, &place);
	say("ready");
	start = now_ns();
	while (!stopping) {
		uint64_t due = (now_ns() - start) / 1000000 * bytes_per_ms;
		size_t length = due - sent < CHUNK ? due - sent : CHUNK;
		ssize_t done;

		if (question())
			report_source(fd, sent, 0);
		if (due <= sent) {
			sleep_until(now_ns() + 1000000);
			continue;
		}
		pattern(sent, bytes, length);
		done = send(fd, bytes, length, MSG_NOSIGNAL);
		if (done < 0 && !came_to_nothing())
			return report_source(fd, sent, errno);
		if (done > 0)
			sent += (uint64_t)done;
	}
	/* The other side closes when it has read the whole. */
	shutdown(fd, SHUT_WR);
	for (;;) {
		ssize_t got = recv(fd, bytes, sizeof(bytes), 0);

		if (got < 0 && came_to_nothing())
			continue;
		return report_source(fd, sent, got < 0 ? errno : 0);
	}
}

static int report_sink(uint64_t received, bool intact, int error)
{
	printf("{\"received\":%lu,\"intact\":%s,\"error\":\"%s\"}\n", received, intact ? "true" : "false",
	       error ? strerrorname_np(error) : "");
	fflush(stdout);
	return error || !intact;
}

static int sink(const char *port)
{
	static unsigned char bytes[CHUNK], wanted[CHUNK];
	int listener = listen_at(port, SOCK_STREAM), fd;
	uint64_t received = 0;
	bool intact = true;

	say("ready");
	do {
		fd = accept(listener, NULL, NULL);
	} while (fd < 0 && came_to_nothing() && !stopping);
	bound_wait(fd);
	while (!stopping) {
		ssize_t got = recv(fd, bytes, sizeof(bytes), 0);

		if (question())
			report_sink(received, intact, 0);
		if (got < 0 && came_to_nothing())
			continue;
		if (got <= 0)
			return report_sink(received, intact, got < 0 ? errno : 0);
		pattern(received, wanted, (size_t)got);
		intact = intact && !memcmp(bytes, wanted, (size_t)got);
		received += (uint64_t)got;
	}
	return report_sink(received, intact, EINTR);
}

static void report_pace(uint64_t sent, uint64_t refused)
{
	printf("{\"sent\":%lu,\"refused\":%lu}\n", sent, refused);
	fflush(stdout);
}

static int pace(const char *address, const char *port, uint64_t per_second)
{
	struct place place = place_of(address, port);
	int fd = socket_at(&place, SOCK_DGRAM);
	uint64_t number = 0, refused = 0, start = now_ns();

	connect_to(fd, &place);
	say("ready");
	while (!stopping) {
		if (question())
			report_pace(number, refused);
		if (!sleep_until(start + (number + refused) * 1000000000 / per_second))
			continue;
		if (send(fd, &number, sizeof(number), 0) == sizeof(number))
			number++;
		else if (errno != EINTR)
			refused++;
	}
	report_pace(number, refused);
	return 0;
}

static void report_tally(uint64_t received, uint64_t late, uint64_t gap_ns)
{
	printf("{\"received\":%lu,\"late\":%lu,\"longest_gap_ms\":%.1f}\n", received, late,
	       (double)gap_ns / 1e6);
	fflush(stdout);
}

static int tally(const char *port)
{
	int fd = listen_at(port, SOCK_DGRAM), size = BUFFER_MAX;
	uint64_t number, received = 0, late = 0, next = 0, gap = 0, last = 0;

	/* What waits for this process is not lost. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)))
		fail("SO_RCVBUFFORCE");
	say("ready");
	/* After SIGTERM, what is there already. */
	for (;;) {
		ssize_t got = recv(fd, &number, sizeof(number), stopping ? MSG_DONTWAIT : 0);
		uint64_t now = now_ns();

		if (question())
			report_tally(received, late, gap);
		if (got < 0 && came_to_nothing() && !stopping)
			continue;
		if (got < 0)
			break;
		if (last && now - last > gap)
			gap = now - last;
		last = now;
		received++;
		if (number < next)
			late++;
		else
			next = number + 1;
	}
	report_tally(received, late, gap);
	return 0;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";

	listen_to_signals();
	if (!strcmp(verb, "source") && argc == 5)
		return source(argv[2], argv[3], strtoul(argv[4], NULL, 10));
	if (!strcmp(verb, "sink") && argc == 3)
		return sink(argv[2]);
	if (!strcmp(verb, "pace") && argc == 5)
		return pace(argv[2], argv[3], strtoul(argv[4], NULL, 10));
	if (!strcmp(verb, "tally") && argc == 3)
		return tally(argv[2]);
	fputs(USAGE, stderr);
	return 2;
}
