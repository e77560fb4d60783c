// SPDX-License-Identifier: MIT
#include "netns.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <system_error>
#include <thread>

/* Of the thread, not of the process: threads can be in different namespaces. */
static constexpr const char *CURRENT = "/proc/thread-self/ns/net";

static std::string fd_path(int fd)
{
	return "/proc/self/fd/" + std::to_string(fd);
}

UniqueFd open_current_netns()
{
	return UniqueFd(check_errno(open(CURRENT, O_RDONLY | O_CLOEXEC), "open network namespace", CURRENT));
}

static bool is_nsfs(int fd)
{
	struct statfs file_system;
	return fstatfs(fd, &file_system) == 0 && file_system.f_type == NSFS_MAGIC;
}

static bool is_netns(int fd)
{
	return is_nsfs(fd) && ioctl(fd, NS_GET_NSTYPE) == CLONE_NEWNET;
}

UniqueFd open_netns(const std::string &path)
{
	constexpr const char *operation = "open network namespace";

	/* First without touching what is behind it: opening a device or a pipe can block or have effects. */
	UniqueFd place(check_errno(open(path.c_str(), O_PATH | O_CLOEXEC), operation, path));
	if (!is_nsfs(place.get()))
		throw Failure{EINVAL, operation, path + " (which is not a namespace)"};
	UniqueFd fd(check_errno(open(fd_path(place.get()).c_str(), O_RDONLY | O_CLOEXEC), operation, path));
	if (!is_netns(fd.get()))
		throw Failure{EINVAL, operation, path + " (which is a namespace of another kind)"};
	return fd;
}

UniqueFd create_netns()
{
	constexpr const char *operation = "create";
	constexpr const char *object = "network namespace";
	int error = 0;
	UniqueFd fd;

	/* A thread of its own enters the namespace and dies: the caller cannot get stuck in it. */
	try {
		std::thread([&] {
			if (unshare(CLONE_NEWNET) < 0) {
				error = errno;
				return;
			}
			fd.reset(open(CURRENT, O_RDONLY | O_CLOEXEC));
			if (!fd)
				error = errno;
		}).join();
	} catch (const std::system_error &) {
		error = EAGAIN;
	}
	if (error)
		throw Failure{error, operation, object};
	return fd;
}

NetnsId netns_id(int fd)
{
	struct stat status;
	check_errno(fstat(fd, &status), "inspect network namespace", "descriptor " + std::to_string(fd));
	return {status.st_dev, status.st_ino};
}

bool shares_user_namespace(int fd)
{
	constexpr const char *operation = "find";
	const std::string object = "owner of the network namespace";
	int owner = ioctl(fd, NS_GET_USERNS);
	/* The owner is above our own: more powerful than we are. */
	if (owner < 0 && errno == EPERM)
		return true;
	UniqueFd theirs(check_errno(owner, operation, object));
	UniqueFd ours(check_errno(open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC), operation, object));
	NetnsId their_id = netns_id(theirs.get()), our_id = netns_id(ours.get());
	return their_id.device == our_id.device && their_id.inode == our_id.inode;
}

uint64_t netns_cookie(int fd)
{
	constexpr const char *operation = "read cookie of";
	uint64_t cookie = 0;
	socklen_t size = sizeof(cookie);

	/* A socket tells the cookie of the namespace that it was made in. */
	NetnsScope scope(fd);
	UniqueFd socket(check_errno(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), operation,
				    netns_text(netns_id(fd).inode)));
	check_errno(getsockopt(socket.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size), operation,
		    netns_text(netns_id(fd).inode));
	return cookie;
}

std::string netns_text(ino_t inode)
{
	return "netns " + std::to_string(inode);
}

void pin_netns(int fd, const std::string &path)
{
	constexpr const char *operation = "pin network namespace";

	/* Exclusive: never mount over something that has a meaning already. */
	UniqueFd file(check_errno(open(path.c_str(), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0), operation,
				  "to " + path));
	if (mount(fd_path(fd).c_str(), path.c_str(), "none", MS_BIND, nullptr) < 0) {
		int error = errno;
		unlink(path.c_str());
		throw Failure{error, operation, "to " + path};
	}
}

void unpin_netns(const std::string &path)
{
	constexpr const char *operation = "unpin network namespace";
	struct stat status;

	UniqueFd place(check_errno(open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC), operation, path));
	check_errno(fstat(place.get(), &status), operation, path);
	if (is_nsfs(place.get())) {
		place.reset();
		open_netns(path);
		check_errno(umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW), operation, path);
	} else if (!S_ISREG(status.st_mode) || status.st_size != 0) {
		/* An empty file is what a crash between creating it and mounting leaves. */
		throw Failure{EINVAL, operation, path + " (which is no pinned namespace)"};
	}
	check_errno(unlink(path.c_str()), operation, path);
}

void share_netns_directory(const std::string &path)
{
	constexpr const char *operation = "share namespace directory";

	if (mkdir(path.c_str(), 0755) < 0 && errno != EEXIST)
		throw Failure{errno, operation, path};
	UniqueFd directory(
	    check_errno(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), operation, path));
	int locked;
	do {
		locked = flock(directory.get(), LOCK_EX);
	} while (locked < 0 && errno == EINTR);
	check_errno(locked, operation, path);

	/* EINVAL says that it is no mount point yet. */
	if (mount("", path.c_str(), "none", MS_SHARED | MS_REC, nullptr) == 0)
		return;
	if (errno != EINVAL)
		throw Failure{errno, operation, path};
	check_errno(mount(path.c_str(), path.c_str(), "none", MS_BIND | MS_REC, nullptr), operation, path);
	check_errno(mount("", path.c_str(), "none", MS_SHARED | MS_REC, nullptr), operation, path);
}

NetnsScope::NetnsScope(int fd) : previous_(open_current_netns())
{
	if (setns(fd, CLONE_NEWNET) < 0)
		throw Failure{errno, "enter", netns_text(netns_id(fd).inode)};
}

NetnsScope::~NetnsScope()
{
	if (setns(previous_.get(), CLONE_NEWNET) == 0)
		return;
	fprintf(stderr, "quantum: cannot return to the first network namespace: %s\n", strerror(errno));
	abort();
}
