// SPDX-License-Identifier: MIT
// Calls CNI plugins as a runtime does, and tells how long each call took.
//
// Standard input has a call per line, its parts separated by tabs: executable, file with the network
// configuration, CNI_COMMAND, CNI_CONTAINERID, CNI_NETNS, CNI_PATH. For each, a line comes back: nanoseconds
// from before the pipes are made until the process has been waited for, and its exit code. What a call that
// failed printed goes to standard error.
#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PARTS	   6
#define CONFIG_MAX 65536 /* what a pipe takes at once */

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static long long now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static size_t read_config(const char *path, char *config)
{
	int fd = open(path, O_RDONLY);
	ssize_t size = fd < 0 ? -1 : read(fd, config, CONFIG_MAX);

	if (size < 0)
		die(path);
	close(fd);
	return (size_t)size;
}

static int call(char *parts[PARTS], const char *config, size_t size, char *output, size_t room,
		long long *took)
{
	char command[64], container[192], netns[1024], path[1024];
	char *environment[] = {
	    command, container, netns, path, "CNI_IFNAME=eth0", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
	char *argv[] = {parts[0], NULL};
	int in[2], out[2], status;
	posix_spawn_file_actions_t actions;
	size_t length = 0;
	ssize_t count;
	pid_t pid;

	snprintf(command, sizeof(command), "CNI_COMMAND=%s", parts[2]);
	snprintf(container, sizeof(container), "CNI_CONTAINERID=%s", parts[3]);
	snprintf(netns, sizeof(netns), "CNI_NETNS=%s", parts[4]);
	snprintf(path, sizeof(path), "CNI_PATH=%s", parts[5]);

	long long begin = now_ns();
	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC))
		die("pipe2");
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
	if (posix_spawn(&pid, parts[0], &actions, NULL, argv, environment))
		die(parts[0]);
	posix_spawn_file_actions_destroy(&actions);
	close(in[0]);
	close(out[1]);
	if (write(in[1], config, size) != (ssize_t)size)
		die("write");
	close(in[1]);
	while ((count = read(out[0], output + length, room - 1 - length)) > 0)
		length += (size_t)count;
	output[length] = 0;
	close(out[0]);
	if (waitpid(pid, &status, 0) < 0)
		die("waitpid");
	*took = now_ns() - begin;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(void)
{
	static char line[8192], config[CONFIG_MAX], output[65536];

	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin)) {
		char *parts[PARTS], *rest = line;
		long long took = 0;

		line[strcspn(line, "\n")] = 0;
		for (int i = 0; i < PARTS; i++) {
			parts[i] = strsep(&rest, "\t");
			if (!parts[i]) {
				fprintf(stderr, "a call has %d parts\n", PARTS);
				return 1;
			}
		}
		size_t size = read_config(parts[1], config);
		int code = call(parts, config, size, output, sizeof(output), &took);
		if (code)
			fprintf(stderr, "%s %s: exit code %d: %s\n", parts[0], parts[2], code, output);
		printf("%lld %d\n", took, code);
	}
	return 0;
}
