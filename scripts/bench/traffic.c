// SPDX-License-Identifier: MIT
// Both ends of what the other tools do not measure.
//
//   traffic serve PORT                        echoes, one connection after another; says "ready"
//   traffic connections ADDRESS PORT SECONDS  opens, asks once, closes; prints connections per second,
//                                             the CPU time of each at this end in us, and their number
//   traffic latency ADDRESS PORT SECONDS      asks again and again on one connection; prints median and 99th
//                                             percentile of half the time between question and answer, in us
#include "tool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define QUESTION    14 /* bytes, as sockperf's */
#define WARM_UP	    1000
#define SAMPLES_MAX (1 << 22)

static double clock_s(clockid_t clock)
{
	return (double)clock_ns(clock) / 1e9;
}

static double now_s(void)
{
	return clock_s(CLOCK_MONOTONIC);
}

static void no_delay(int fd)
{
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static void __attribute__((noreturn)) serve(int port)
{
	struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
	int fd = socket(AF_INET6, SOCK_STREAM, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, 64))
		die("listen");
	puts("ready");
	fflush(stdout);
	for (;;) {
		int connection = accept(fd, NULL, NULL);
		char data[256];
		ssize_t size;

		if (connection < 0)
			die("accept");
		no_delay(connection);
		while ((size = recv(connection, data, sizeof(data), 0)) > 0)
			if (send(connection, data, (size_t)size, MSG_NOSIGNAL) != size)
				break;
		close(connection);
	}
}

static socklen_t parse(const char *text, const char *port, struct sockaddr_storage *address)
{
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)address;
	struct sockaddr_in *four = (struct sockaddr_in *)address;

	memset(address, 0, sizeof(*address));
	if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
		four->sin_family = AF_INET;
		four->sin_port = htons((uint16_t)atoi(port));
		return sizeof(*four);
	}
	if (inet_pton(AF_INET6, text, &six->sin6_addr) != 1) {
		fprintf(stderr, "%s is no address\n", text);
		exit(1);
	}
	six->sin6_family = AF_INET6;
	six->sin6_port = htons((uint16_t)atoi(port));
	return sizeof(*six);
}

static int open_to(const struct sockaddr_storage *address, socklen_t length)
{
	int fd = socket(address->ss_family, SOCK_STREAM, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)address, length))
		die("connect");
	no_delay(fd);
	return fd;
}

static void ask(int fd, size_t size)
{
	char data[QUESTION] = {};

	if (send(fd, data, size, 0) != (ssize_t)size || recv(fd, data, size, MSG_WAITALL) != (ssize_t)size)
		die("ask");
}

static void measure_connections(const struct sockaddr_storage *address, socklen_t length, double seconds)
{
	/* Closed by a reset: nothing waits, so the ports do not run out. */
	struct linger at_once = {.l_onoff = 1, .l_linger = 0};
	double begin = now_s(), cpu = clock_s(CLOCK_PROCESS_CPUTIME_ID), now;
	long count = 0;

	do {
		int fd = open_to(address, length);

		setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
		ask(fd, 1);
		close(fd);
		count++;
		now = now_s();
	} while (now - begin < seconds);
	cpu = clock_s(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	printf("%.1f %.3f %ld\n", (double)count / (now - begin), cpu * 1e6 / (double)count, count);
}

static int compare(const void *left, const void *right)
{
	float a = *(const float *)left, b = *(const float *)right;

	return (a > b) - (a < b);
}

static void measure_latency(const struct sockaddr_storage *address, socklen_t length, double seconds)
{
	static float samples[SAMPLES_MAX];
	int fd = open_to(address, length);
	long count = 0;
	double begin, before, now;

	for (int i = 0; i < WARM_UP; i++)
		ask(fd, QUESTION);
	begin = now = now_s();
	while (now - begin < seconds && count < SAMPLES_MAX) {
		before = now;
		ask(fd, QUESTION);
		now = now_s();
		samples[count++] = (float)((now - before) / 2 * 1e6);
	}
	qsort(samples, (size_t)count, sizeof(samples[0]), compare);
	printf("%.3f %.3f\n", samples[count / 2], samples[count * 99 / 100]);
}

int main(int argc, char **argv)
{
	struct sockaddr_storage address;
	socklen_t length;

	if (argc == 3 && !strcmp(argv[1], "serve"))
		serve(atoi(argv[2]));
	if (argc != 5) {
		fputs("traffic serve PORT | connections|latency ADDRESS PORT SECONDS\n", stderr);
		return 1;
	}
	length = parse(argv[2], argv[3], &address);
	if (!strcmp(argv[1], "connections"))
		measure_connections(&address, length, atof(argv[4]));
	else
		measure_latency(&address, length, atof(argv[4]));
	return 0;
}
