/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What the programs of this folder have in common: where to, and how they speak to the test. */
#pragma once

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static volatile sig_atomic_t stopping;

static inline void on_stop(int signal)
{
	(void)signal;
	stopping = 1;
}

/* From now on SIGTERM sets `stopping` and interrupts what waits. */
static inline void stop_on_sigterm(void)
{
	struct sigaction action = {.sa_handler = on_stop};

	sigaction(SIGTERM, &action, NULL);
}

static inline void fail(const char *what)
{
	perror(what);
	exit(1);
}

static inline void say(const char *text)
{
	puts(text);
	fflush(stdout);
}

struct place {
	struct sockaddr_storage address;
	socklen_t length;
	bool is_multicast;
};

static inline struct place place_of(const char *address, const char *port)
{
	struct place place = {};
	struct sockaddr_in *v4 = (struct sockaddr_in *)&place.address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&place.address;

	if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((unsigned short)atoi(port));
		place.length = sizeof(*v4);
		place.is_multicast = IN_MULTICAST(ntohl(v4->sin_addr.s_addr));
	} else if (inet_pton(AF_INET6, address, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((unsigned short)atoi(port));
		place.length = sizeof(*v6);
		place.is_multicast = IN6_IS_ADDR_MULTICAST(&v6->sin6_addr);
	} else {
		fprintf(stderr, "%s is no address\n", address);
		exit(1);
	}
	return place;
}
