/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * A client that calls again and again, each time anew, and to which not one call may fail. `calls` without
 * arguments tells how it is called.
 */
#include "account.h"

#define PATIENCE_S 10

static const char USAGE[] =
    "calls ADDRESS TCP_PORT UDP_PORT PER_SECOND  each call is a new connection, and a datagram of a new "
    "socket,\n"
    "                                            to an echo; prints `ready`, and after SIGTERM how many "
    "were\n"
    "                                            answered and how many were not, with the last error\n";

/* Whether what is sent by a new socket comes back. */
static bool is_answered(const struct place *place, int type)
{
	struct timeval patience = {.tv_sec = PATIENCE_S};
	int fd = socket_at(place, type), error;
	char bytes[4];
	bool answered;

	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	errno = 0;
	answered = !connect(fd, (const struct sockaddr *)&place->address, place->length) &&
		   send(fd, "call", 4, MSG_NOSIGNAL) == 4 &&
		   recv(fd, bytes, sizeof(bytes), MSG_WAITALL) == sizeof(bytes);
	error = errno;
	close(fd);
	errno = error;
	return answered;
}

int main(int argc, char **argv)
{
	uint64_t answered = 0, failed = 0, start = now_ns(), per_second;
	struct place places[2];
	int last = 0;

	if (argc != 5 || !(per_second = strtoul(argv[4], NULL, 10))) {
		fputs(USAGE, stderr);
		return 2;
	}
	places[0] = place_of(argv[1], argv[2]);
	places[1] = place_of(argv[1], argv[3]);
	stop_on_sigterm();
	say("ready");
	while (!stopping && sleep_until(start + (answered + failed) * 1000000000 / per_second / 2)) {
		for (int i = 0; i < 2; i++) {
			if (is_answered(&places[i], i ? SOCK_DGRAM : SOCK_STREAM)) {
				answered++;
			} else if (!stopping) {
				failed++;
				last = errno;
			}
		}
	}
	printf("{\"answered\":%lu,\"failed\":%lu,\"error\":\"%s\"}\n", answered, failed,
	       last ? strerrorname_np(last) : "");
	return 0;
}
