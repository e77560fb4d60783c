// SPDX-License-Identifier: MIT
// Carries out CNI configuration lists as a runtime does, one or many at once, and tells how long each took.
//
// Standard input has a call per line, its parts separated by tabs: CNI_COMMAND, CNI_CONTAINERID, CNI_NETNS,
// CNI_PATH, a file for the result, then for each plugin in its order its executable and the file with its
// configuration. An empty line starts all calls since the last one, each in a process of its own. For each of
// them a line comes back, in their order: nanoseconds until the last plugin has been waited for, its exit
// code, and the most memory that a plugin of it had, in kilobytes. What a call that failed printed goes to
// standard error. ADD hands each result to the next plugin and keeps the last one in the file, DEL hands that
// to each.
#include "tool.h"

#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define CALLS_MAX 1024
#define PARTS_MAX 32
#define TEXT_MAX  65536 /* what a pipe takes at once */

enum part { COMMAND, CONTAINER, NETNS, PATH, RESULT, PLUGINS };

struct outcome {
	long long ns;
	long kilobytes;
	int code;
};

/* The text of a file, empty when there is none. */
static size_t read_text(const char *path, char *text)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t size = fd < 0 ? 0 : read(fd, text, TEXT_MAX - 1);

	if (fd >= 0)
		close(fd);
	text[size < 0 ? 0 : size] = 0;
	return strlen(text);
}

/* The configuration of one plugin, with the result of the one before it as its last key. */
static size_t make_config(const char *path, const char *previous, char *config)
{
	size_t size = read_text(path, config);
	char *end = strrchr(config, '}');

	if (!size || !end)
		die(path);
	if (previous[0]) {
		int length =
		    snprintf(end, TEXT_MAX - (size_t)(end - config), ",\"prevResult\":%s}", previous);
		size = (size_t)(end - config) + (size_t)length;
	}
	if (size >= TEXT_MAX)
		die("configuration is too large");
	return size;
}

static int run(const char *executable, const char *config, size_t size, char *output, char **environment,
	       long *kilobytes)
{
	char *argv[] = {(char *)executable, NULL};
	int in[2], out[2], status;
	posix_spawn_file_actions_t actions;
	struct rusage usage;
	size_t length = 0;
	ssize_t count;
	pid_t pid;

	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC))
		die("pipe2");
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
	if (posix_spawn(&pid, executable, &actions, NULL, argv, environment))
		die(executable);
	posix_spawn_file_actions_destroy(&actions);
	close(in[0]);
	close(out[1]);
	if (write(in[1], config, size) != (ssize_t)size)
		die("write");
	close(in[1]);
	while ((count = read(out[0], output + length, TEXT_MAX - 1 - length)) > 0)
		length += (size_t)count;
	output[length] = 0;
	close(out[0]);
	if (wait4(pid, &status, 0, &usage) < 0)
		die("wait4");
	if (usage.ru_maxrss > *kilobytes)
		*kilobytes = usage.ru_maxrss;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void call(char **parts, struct outcome *outcome)
{
	static char variables[4][1024], config[TEXT_MAX], output[TEXT_MAX], previous[TEXT_MAX];
	static const char *const NAMES[] = {"CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_PATH"};
	char *environment[] = {variables[0], variables[1],	variables[2],
			       variables[3], "CNI_IFNAME=eth0", "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
			       NULL};
	int is_add = !strcmp(parts[COMMAND], "ADD");

	for (int i = 0; i < 4; i++)
		snprintf(variables[i], sizeof(variables[i]), "%s=%s", NAMES[i], parts[i]);
	if (!is_add)
		read_text(parts[RESULT], previous);
	long long begin = now_ns();
	for (char **plugin = parts + PLUGINS; plugin[0]; plugin += 2) {
		size_t size = make_config(plugin[1], previous, config);
		outcome->code = run(plugin[0], config, size, output, environment, &outcome->kilobytes);
		if (outcome->code) {
			fprintf(stderr, "%s %s: exit code %d: %s\n", plugin[0], parts[COMMAND], outcome->code,
				output);
			break;
		}
		if (is_add)
			memcpy(previous, output, sizeof(output));
	}
	outcome->ns = now_ns() - begin;
	if (is_add) {
		int fd = open(parts[RESULT], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		if (fd < 0 || write(fd, previous, strlen(previous)) < 0)
			die(parts[RESULT]);
	}
}

static void split(char *line, char **parts)
{
	int count = 0;

	for (char *part; count < PARTS_MAX && (part = strsep(&line, "\t"));)
		parts[count++] = part;
	if (count < PLUGINS + 2 || count % 2 == 0) {
		fprintf(stderr, "a call has five parts and two for each plugin\n");
		exit(1);
	}
}

static void run_all(char **lines, int count, struct outcome *outcomes)
{
	memset(outcomes, 0, sizeof(*outcomes) * CALLS_MAX);
	for (int i = 0; i < count; i++) {
		pid_t pid = fork();
		if (pid < 0)
			die("fork");
		if (pid == 0) {
			char *parts[PARTS_MAX + 1] = {0};
			split(lines[i], parts);
			call(parts, &outcomes[i]);
			_exit(0);
		}
	}
	for (int i = 0, status; i < count; i++) {
		if (wait(&status) < 0)
			die("wait");
		if (status) {
			fprintf(stderr, "a call ended with status %d\n", status);
			exit(1);
		}
	}
	for (int i = 0; i < count; i++) {
		printf("%lld %d %ld\n", outcomes[i].ns, outcomes[i].code, outcomes[i].kilobytes);
		free(lines[i]);
	}
	fflush(stdout);
}

int main(void)
{
	static char line[16384];
	static char *lines[CALLS_MAX];
	int count = 0;
	struct outcome *outcomes = mmap(NULL, sizeof(struct outcome) * CALLS_MAX, PROT_READ | PROT_WRITE,
					MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (outcomes == MAP_FAILED)
		die("mmap");
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = 0;
		if (line[0] && count < CALLS_MAX) {
			lines[count++] = strdup(line);
			continue;
		}
		run_all(lines, count, outcomes);
		count = 0;
	}
	return 0;
}
