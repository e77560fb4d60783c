/* SPDX-License-Identifier: MIT */
/*
 * One netlink socket. Messages are built, and answers parsed, by libnl; sending and receiving is done here,
 * because libnl folds errno into fewer codes of its own and drops the kernel's extended explanation.
 */
#pragma once

#include "handle.h"
#include "unique_fd.h"

#include <netlink/msg.h>
#include <netlink/object.h>
#include <functional>
#include <memory>
#include <string>
#include <vector>

template <auto Free> struct Deleter {
	template <class T> void operator()(T *object) const
	{
		Free(object);
	}
};
using MessagePtr = std::unique_ptr<nl_msg, Deleter<nlmsg_free>>;
using ObjectPtr = std::unique_ptr<nl_object, Deleter<nl_object_put>>;

/* For libnl functions, which return -NLE_…: only what building a message can run into. */
void check_libnl(int result, const char *operation, const std::string &object);

/* `pointer` of a libnl constructor, which returns null when memory is short. */
template <class T> T *check_allocated(T *pointer, const char *operation, const std::string &object)
{
	if (!pointer)
		throw Failure{ENOMEM, operation, object};
	return pointer;
}

/* A message with a fixed header after struct nlmsghdr. */
template <class Header> MessagePtr new_message(int type, int flags, Header header)
{
	MessagePtr message(check_allocated(nlmsg_alloc_simple(type, flags), "build", "netlink message"));
	check_libnl(nlmsg_append(message.get(), &header, sizeof(header), NLMSG_ALIGNTO), "build",
		    "netlink message");
	return message;
}

class NetlinkSocket
{
      public:
	/* In the namespace that the calling thread is in; it stays in that one. */
	explicit NetlinkSocket(int protocol);

	int fd() const
	{
		return fd_.get();
	}

	using Visit = std::function<void(nlmsghdr *)>;
	/*
	 * Sends and waits until the kernel has done it; `visit`, if given, sees each message of the answer.
	 * Failure with the errno of the kernel, and with its own words behind the object where it gives any.
	 */
	void exchange(nl_msg *message, const char *operation, const std::string &object,
		      const Visit &visit = {});

	/*
	 * The answer as libnl objects. A dump that changed under our eyes is repeated. When it has more than
	 * `most` objects: E2BIG, and the socket takes no further dump while the kernel holds the rest of this
	 * one.
	 */
	std::vector<ObjectPtr> query(nl_msg *message, const char *operation, const std::string &object,
				     size_t most = SIZE_MAX);

      private:
	bool receive(uint32_t sequence, const char *operation, const std::string &object, const Visit &visit,
		     bool &interrupted);

	int protocol_;
	uint32_t sequence_ = 0;
	UniqueFd fd_;
	std::vector<uint8_t> buffer_;
};

/* NETLINK_ROUTE, and what to call its namespace in errors. */
class RouteSocket final : public Handle
{
      public:
	static constexpr const char *NAME = "rtnetlink socket";

	/* In the namespace that the calling thread is in. */
	RouteSocket();
	NetlinkSocket &socket()
	{
		if (!socket_)
			throw Closed{NAME};
		return *socket_;
	}
	/* The namespace that it is bound to. */
	UniqueFd netns();
	/* "link eth0 in netns 4026531840" */
	std::string text(const std::string &object) const;
	void close()
	{
		socket_.reset();
	}

      private:
	std::unique_ptr<NetlinkSocket> socket_;
	std::string netns_;
};
