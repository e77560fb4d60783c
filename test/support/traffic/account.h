/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Programs that go on until they are told to stop, and give an account of what they did when they are asked.
 */
#pragma once

#include "place.h"

#include <stdint.h>
#include <time.h>

static volatile sig_atomic_t asked;

static inline void on_question(int signal)
{
	(void)signal;
	asked = 1;
}

/* Whether the account is to be printed now. */
static inline bool question(void)
{
	bool was = asked;

	asked = 0;
	return was;
}

static inline uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* False: a signal came first. */
static inline bool sleep_until(uint64_t when_ns)
{
	struct timespec when = {.tv_sec = (time_t)(when_ns / 1000000000),
				.tv_nsec = (long)(when_ns % 1000000000)};

	return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL) == 0;
}

/* SIGUSR1 asks for the account, SIGTERM ends the program with a last one. */
static inline void listen_to_signals(void)
{
	struct sigaction action = {.sa_handler = on_question};

	stop_on_sigterm();
	sigaction(SIGUSR1, &action, NULL);
}

/* What waits on it looks up ten times a second: a signal may come just before the wait. */
static inline void bound_wait(int fd)
{
	struct timeval wait = {.tv_usec = 100000};

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
}

static inline bool came_to_nothing(void)
{
	return errno == EINTR || errno == EAGAIN;
}

static inline int socket_at(const struct place *place, int type)
{
	int fd = socket(place->address.ss_family, type, 0);

	if (fd < 0)
		fail("socket");
	bound_wait(fd);
	return fd;
}

static inline void connect_to(int fd, const struct place *place)
{
	if (connect(fd, (const struct sockaddr *)&place->address, place->length))
		fail("connect");
}
