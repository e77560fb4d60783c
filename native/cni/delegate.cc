// SPDX-License-Identifier: MIT
#include "delegate.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <fcntl.h>
#include <vector>

#include "environment.h"
#include "failure.h"
#include "json.h"
#include "unique_fd.h"

namespace cni
{

namespace
{

constexpr size_t OUTPUT_BYTES_MAX = 256 * 1024;

bool is_executable(const std::string &path)
{
	struct stat status = {};
	return stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) && access(path.c_str(), X_OK) == 0;
}

// The first of the directories in CNI_PATH that has it.
std::string find(const std::string &type)
{
	const std::string directories = variable("CNI_PATH");
	size_t start = 0;
	while (start < directories.size()) {
		size_t end = directories.find(':', start);
		if (end == std::string::npos)
			end = directories.size();
		const std::string path = directories.substr(start, end - start) + "/" + type;
		// A relative directory would be one of whoever started the runtime.
		if (path[0] == '/' && is_executable(path))
			return path;
		start = end + 1;
	}
	if (directories.empty())
		throw Failure{INVALID_ENVIRONMENT, "CNI_PATH is missing, and \"ipam.type\" names a plugin",
			      printable(type)};
	throw Failure{INVALID_CONFIG, "the IPAM plugin is in no directory of CNI_PATH", printable(type)};
}

// Its standard input: a file, so that it need not be read while the plugin writes.
UniqueFd input_of(const std::string &text)
{
	UniqueFd file(memfd_create("quantum-cni", MFD_CLOEXEC));
	if (!file || !write_all(file.get(), text) || lseek(file.get(), 0, SEEK_SET) != 0)
		throw Failure{IO_FAILURE, "the IPAM plugin's input cannot be written", strerror(errno)};
	return file;
}

// Our environment with another command.
class Environment
{
      public:
	explicit Environment(const char *command) : command_(std::string("CNI_COMMAND=") + command)
	{
		for (char **entry = environ; *entry != nullptr; entry++)
			if (strncmp(*entry, "CNI_COMMAND=", strlen("CNI_COMMAND=")) != 0)
				entries_.push_back(*entry);
		entries_.push_back(command_.data());
		entries_.push_back(nullptr);
	}

	char *const *get() const
	{
		return entries_.data();
	}

      private:
	std::string command_;
	std::vector<char *> entries_;
};

// A child that is killed and reaped unless somebody has waited for it.
class Child
{
      public:
	Child(const std::string &path, const char *command, int input, int output)
	{
		const Environment environment(command);
		std::string name = path;
		char *const arguments[] = {name.data(), nullptr};
		posix_spawn_file_actions_t actions;
		posix_spawnattr_t attributes;
		posix_spawn_file_actions_init(&actions);
		posix_spawnattr_init(&attributes);
		posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
		posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
		// We ignore it, and what is ignored is inherited.
		sigset_t signals;
		sigemptyset(&signals);
		sigaddset(&signals, SIGPIPE);
		posix_spawnattr_setsigdefault(&attributes, &signals);
		posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
		const int error =
		    posix_spawn(&pid_, path.c_str(), &actions, &attributes, arguments, environment.get());
		posix_spawnattr_destroy(&attributes);
		posix_spawn_file_actions_destroy(&actions);
		if (error != 0) {
			pid_ = -1;
			throw Failure{IO_FAILURE, "the IPAM plugin cannot be executed: " + printable(path),
				      strerror(error)};
		}
	}
	Child(const Child &) = delete;
	Child &operator=(const Child &) = delete;
	~Child()
	{
		if (pid_ < 0)
			return;
		kill(pid_, SIGKILL);
		reap();
	}

	// Waits for its end. False: too late.
	bool wait(const Deadline &deadline)
	{
		const UniqueFd handle(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));
		if (handle && !deadline.wait(handle.get(), POLLIN))
			return false;
		reap();
		pid_ = -1;
		return true;
	}

	bool succeeded() const
	{
		return WIFEXITED(status_) && WEXITSTATUS(status_) == 0;
	}

      private:
	void reap()
	{
		while (waitpid(pid_, &status_, 0) < 0 && errno == EINTR)
			;
	}

	pid_t pid_ = -1;
	int status_ = 0;
};

// Everything until the other end is closed. False: too late, or too much.
bool read_output(int fd, const Deadline &deadline, std::string &text)
{
	for (;;) {
		char chunk[4096];
		if (!deadline.wait(fd, POLLIN))
			return false;
		const ssize_t count = read(fd, chunk, sizeof(chunk));
		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			return count == 0;
		text.append(chunk, static_cast<size_t>(count));
		if (text.size() > OUTPUT_BYTES_MAX)
			return false;
	}
}

bool is_error_object(const std::string &text)
{
	json_error_t error;
	const Json object(json_loadb(text.data(), text.size(), JSON_ALLOW_NUL, &error));
	return object && json_is_integer(json_object_get(object.get(), "code")) &&
	       json_is_string(json_object_get(object.get(), "msg"));
}

} // namespace

std::string Delegate::run(const char *command) const
{
	if (!exists())
		return std::string();
	const std::string path = find(config_.ipam_type);
	const UniqueFd input = input_of(config_.text);
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) != 0)
		throw Failure{IO_FAILURE, "pipe", strerror(errno)};
	const UniqueFd output(ends[0]);
	UniqueFd theirs(ends[1]);
	Child child(path, command, input.get(), theirs.get());
	theirs = UniqueFd();

	const std::string name = "the IPAM plugin " + printable(config_.ipam_type);
	std::string text;
	if (!read_output(output.get(), deadline_, text) || !child.wait(deadline_))
		throw Failure{
		    TRY_AGAIN_LATER,
		    name + (text.size() > OUTPUT_BYTES_MAX ? " printed too much" : " did not end in time"),
		    "\"timeout\" in the network configuration sets the limit."};
	if (child.succeeded())
		return text;
	if (is_error_object(text))
		throw Refusal{text};
	throw Failure{INTERNAL, name + " failed without saying why", printable(text)};
}

void Delegate::run_quietly(const char *command) const
{
	try {
		run(command);
	} catch (const Failure &) {
	} catch (const Refusal &) {
	}
}

} // namespace cni
