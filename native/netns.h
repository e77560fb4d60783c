/* SPDX-License-Identifier: MIT */
/* Network namespaces as file descriptors. Everything here throws Failure; nothing knows JavaScript. */
#pragma once

#include "handle.h"
#include "unique_fd.h"

#include <sys/types.h>
#include <string>

/* What tells one namespace from another while at least one of the two is open. */
struct NetnsId {
	dev_t device;
	ino_t inode;
};

/* The calling thread's namespace. */
UniqueFd open_current_netns();

/* The one that `path` (/proc/<pid>/ns/net, /run/netns/<name>) refers to; EINVAL when it refers to anything
 * else. */
UniqueFd open_netns(const std::string &path);

/* A new one, kept alive by this descriptor alone. The calling thread never enters it. */
UniqueFd create_netns();

NetnsId netns_id(int fd);

/*
 * Whether the calling process' user namespace, or one above it, owns the namespace: then whoever has
 * CAP_NET_ADMIN there by being root of that user namespace has it in every other namespace of the same owner
 * too.
 */
bool shares_user_namespace(int fd);

/* The kernel's number for it, which no other one gets until the next boot. */
uint64_t netns_cookie(int fd);

/* "netns 4026531840" */
std::string netns_text(ino_t inode);

/* Keeps the namespace alive under a name, as `ip netns add` does: a new empty file with the namespace mounted
 * on it. */
void pin_netns(int fd, const std::string &path);

/* Undoes it. EINVAL when the file is neither a network namespace nor empty: then it is not ours to delete. */
void unpin_netns(const std::string &path);

/*
 * Makes the directory (mode 0755) a mount point with shared propagation, so that what is pinned below it
 * shows in every mount namespace and disappears from all of them together. Repeatable; safe against `ip netns
 * add` doing it at the same time, since both lock the directory.
 */
void share_netns_directory(const std::string &path);

/*
 * While it lives, the calling thread is in another namespace. The destructor returns to the one before and
 * aborts the process if it cannot: going on in a wrong network namespace would act on somebody else's
 * network.
 */
class NetnsScope
{
      public:
	explicit NetnsScope(int fd);
	~NetnsScope();
	NetnsScope(const NetnsScope &) = delete;
	NetnsScope &operator=(const NetnsScope &) = delete;

      private:
	UniqueFd previous_;
};

/* A namespace that JavaScript holds open. */
struct Netns final : Handle {
	static constexpr const char *NAME = "network namespace";

	explicit Netns(UniqueFd descriptor) : fd_(std::move(descriptor)), id_(netns_id(fd_.get()))
	{
	}
	int fd() const
	{
		if (!fd_)
			throw Closed{NAME};
		return fd_.get();
	}
	NetnsId id() const
	{
		return id_;
	}
	void close()
	{
		fd_.reset();
	}

      private:
	UniqueFd fd_;
	NetnsId id_;
};
