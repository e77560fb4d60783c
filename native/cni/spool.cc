// SPDX-License-Identifier: MIT
#include "spool.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "environment.h"
#include "failure.h"
#include "json.h"
#include "unique_fd.h"

namespace cni
{

namespace
{

constexpr const char *DIRECTORY = "cni-deferred";
constexpr const char *SUFFIX = ".json";

[[noreturn]] void refuse(const std::string &what, int error)
{
	throw Failure{TRY_AGAIN_LATER,
		      "the Quantum daemon is not running and the DEL could not be kept for it",
		      error == 0 ? what : what + ": " + strerror(error)};
}

std::string run_directory(const Config &config)
{
	const size_t slash = config.socket.rfind('/');
	return slash == 0 ? "/" : config.socket.substr(0, slash);
}

// The directory of the files, made when it is not there. Only root's (or the caller's) own, closed to others,
// is used: what stands in it is carried out with the rights of the daemon.
UniqueFd open_directory(const Config &config, bool create)
{
	const std::string run = run_directory(config);
	if (create && mkdir(run.c_str(), 0700) != 0 && errno != EEXIST)
		refuse(run, errno);
	const UniqueFd parent(open(run.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
	if (!parent) {
		if (!create)
			return UniqueFd();
		refuse(run, errno);
	}
	const std::string path = run + "/" + DIRECTORY;
	if (create && mkdirat(parent.get(), DIRECTORY, 0700) != 0 && errno != EEXIST)
		refuse(path, errno);
	UniqueFd directory(openat(parent.get(), DIRECTORY, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
	if (!directory) {
		if (!create)
			return UniqueFd();
		refuse(path, errno);
	}
	struct stat status = {};
	if (fstat(directory.get(), &status) != 0)
		refuse(path, errno);
	if (status.st_uid != geteuid() || (status.st_mode & 077) != 0)
		refuse(
		    path +
			" must belong to the user that runs the plugin and be closed to others (mode 0700)",
		    0);
	return directory;
}

size_t count_files(int directory)
{
	const int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = copy < 0 ? nullptr : fdopendir(copy);
	if (stream == nullptr) {
		if (copy >= 0)
			close(copy);
		refuse(DIRECTORY, errno);
	}
	size_t count = 0;
	while (const struct dirent *entry = readdir(stream))
		if (entry->d_name[0] != '.')
			count++;
	closedir(stream);
	return count;
}

// The same request as the daemon's socket takes, cut down to what DEL needs: its size is bounded, and nothing
// of the configuration is left lying about.
std::string request_text(const Config &config, const Attachment &attachment)
{
	const Json network(json_object());
	json_object_set_new(network.get(), "cniVersion", json_text(config.version));
	json_object_set_new(network.get(), "name", json_text(config.name));
	json_object_set_new(network.get(), "type", json_text(config.type));

	const Json environment(json_object());
	json_object_set_new(environment.get(), "CNI_COMMAND", json_string("DEL"));
	json_object_set_new(environment.get(), "CNI_CONTAINERID", json_text(attachment.container_id));
	json_object_set_new(environment.get(), "CNI_IFNAME", json_text(attachment.interface_name));

	const Json request(json_object());
	json_object_set(request.get(), "env", environment.get());
	json_object_set_new(request.get(), "stdin", json_text(json_line(network.get())));
	return json_line(request.get()) + "\n";
}

} // namespace

void defer(const Config &config, const Attachment &attachment)
{
	const UniqueFd directory = open_directory(config, true);
	const std::string name = attachment.key() + SUFFIX;
	const bool known = faccessat(directory.get(), name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	if (!known && count_files(directory.get()) >= DEFERRED_MAX)
		refuse(std::to_string(DEFERRED_MAX) + " calls are waiting already", 0);

	// Calls for one attachment do not run at the same time, and the process id tells the others apart.
	const std::string temporary = "." + std::to_string(getpid()) + ".tmp";
	unlinkat(directory.get(), temporary.c_str(), 0);
	const UniqueFd file(openat(directory.get(), temporary.c_str(),
				   O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
	if (!file)
		refuse(temporary, errno);
	if (!write_all(file.get(), request_text(config, attachment)) || fsync(file.get()) != 0 ||
	    renameat(directory.get(), temporary.c_str(), directory.get(), name.c_str()) != 0) {
		const int error = errno;
		unlinkat(directory.get(), temporary.c_str(), 0);
		refuse(name, error);
	}
	fsync(directory.get());
}

void forget(const Config &config, const Attachment &attachment)
{
	const UniqueFd directory = open_directory(config, false);
	if (directory)
		unlinkat(directory.get(), (attachment.key() + SUFFIX).c_str(), 0);
}

} // namespace cni
