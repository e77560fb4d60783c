// SPDX-License-Identifier: MIT
#include "net_socket.h"

#include "netns.h"

#include <linux/netlink.h>
#include <linux/sockios.h>
#include <netlink/errno.h>
#include <netlink/netlink.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>

/* The kernel fills at most 32 KiB at a time in a dump, and does so when offered that much. */
static constexpr size_t BUFFER_BYTES = 64 * 1024;
/* rtnetlink answers within the call; only a lost answer makes us wait. */
static constexpr time_t ANSWER_TIMEOUT_S = 10;
static constexpr int DUMP_ATTEMPTS = 10;

void check_libnl(int result, const char *operation, const std::string &object)
{
	if (result >= 0)
		return;
	int error = result == -NLE_NOMEM ? ENOMEM : result == -NLE_MSGSIZE ? EMSGSIZE : EINVAL;
	throw Failure{error, operation, object};
}

NetlinkSocket::NetlinkSocket(int protocol) : protocol_(protocol), buffer_(BUFFER_BYTES)
{
	constexpr const char *operation = "open";
	const std::string object = "netlink socket";
	fd_ =
	    UniqueFd(check_errno(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol), operation, object));

	sockaddr_nl local = {};
	local.nl_family = AF_NETLINK;
	check_errno(bind(fd_.get(), reinterpret_cast<sockaddr *>(&local), sizeof(local)), operation, object);
	timeval timeout = {ANSWER_TIMEOUT_S, 0};
	check_errno(setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)), operation,
		    object);

	/* Each is a comfort that old kernels lack: explanations, short acks, filters in dumps. */
	for (int option : {NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK}) {
		int on = 1;
		setsockopt(fd_.get(), SOL_NETLINK, option, &on, sizeof(on));
	}
}

/* What follows the error code in NLMSG_ERROR and NLMSG_DONE messages: " (kernel: …)", or nothing. */
static std::string explanation(const nlmsghdr *header, size_t payload)
{
	if (!(header->nlmsg_flags & NLM_F_ACK_TLVS) || payload > header->nlmsg_len)
		return {};
	auto *first = reinterpret_cast<nlattr *>(reinterpret_cast<uintptr_t>(nlmsg_data(header)) +
						 NLMSG_ALIGN(payload));
	int length =
	    static_cast<int>(header->nlmsg_len) - NLMSG_HDRLEN - static_cast<int>(NLMSG_ALIGN(payload));
	nlattr *text = length > 0 ? nla_find(first, length, NLMSGERR_ATTR_MSG) : nullptr;
	if (!text || nla_len(text) <= 1)
		return {};
	return " (kernel: " +
	       std::string(nla_get_string(text), strnlen(nla_get_string(text), nla_len(text))) + ")";
}

/* The error of a message that ends an answer, as Failure; 0 is success. */
static void check_end(const nlmsghdr *header, const char *operation, const std::string &object)
{
	if (header->nlmsg_type == NLMSG_DONE) {
		int error = nlmsg_datalen(header) >= static_cast<int>(sizeof(int))
				? *static_cast<int *>(nlmsg_data(header))
				: 0;
		if (error < 0)
			throw Failure{-error, operation, object + explanation(header, sizeof(int))};
		return;
	}
	if (nlmsg_datalen(header) < static_cast<int>(sizeof(nlmsgerr)))
		throw Failure{EBADMSG, operation, object};
	auto *result = static_cast<nlmsgerr *>(nlmsg_data(header));
	if (result->error == 0)
		return;
	size_t payload = sizeof(nlmsgerr);
	if (!(header->nlmsg_flags & NLM_F_CAPPED))
		payload += result->msg.nlmsg_len - NLMSG_HDRLEN;
	throw Failure{-result->error, operation, object + explanation(header, payload)};
}

/* One datagram; true when it ended the answer. */
bool NetlinkSocket::receive(uint32_t sequence, const char *operation, const std::string &object,
			    const Visit &visit, bool &interrupted)
{
	sockaddr_nl sender = {};
	iovec part = {buffer_.data(), buffer_.size()};
	msghdr datagram = {};
	datagram.msg_name = &sender;
	datagram.msg_namelen = sizeof(sender);
	datagram.msg_iov = &part;
	datagram.msg_iovlen = 1;

	ssize_t received;
	do {
		received = recvmsg(fd_.get(), &datagram, 0);
	} while (received < 0 && errno == EINTR);
	if (received < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		throw Failure{ETIMEDOUT, operation, object};
	check_errno(received, operation, object);
	if (datagram.msg_flags & MSG_TRUNC)
		throw Failure{EMSGSIZE, operation, object};
	if (sender.nl_pid != 0) /* not from the kernel */
		return false;

	int left = static_cast<int>(received);
	for (auto *header = reinterpret_cast<nlmsghdr *>(buffer_.data()); nlmsg_ok(header, left);
	     header = nlmsg_next(header, &left)) {
		/* The rest of an exchange that was given up. */
		if (header->nlmsg_seq != sequence)
			continue;
		if (header->nlmsg_flags & NLM_F_DUMP_INTR)
			interrupted = true;
		if (header->nlmsg_type == NLMSG_DONE || header->nlmsg_type == NLMSG_ERROR) {
			check_end(header, operation, object);
			return true;
		}
		if (header->nlmsg_type >= NLMSG_MIN_TYPE && visit)
			visit(header);
	}
	return false;
}

void NetlinkSocket::exchange(nl_msg *message, const char *operation, const std::string &object,
			     const Visit &visit)
{
	nlmsghdr *header = nlmsg_hdr(message);
	header->nlmsg_flags |= NLM_F_REQUEST;
	/* A dump ends with NLMSG_DONE; everything else is asked to end with an acknowledgement. */
	if ((header->nlmsg_flags & NLM_F_DUMP) != NLM_F_DUMP)
		header->nlmsg_flags |= NLM_F_ACK;
	header->nlmsg_pid = 0;
	header->nlmsg_seq = ++sequence_;

	sockaddr_nl kernel = {};
	kernel.nl_family = AF_NETLINK;
	check_errno(sendto(fd_.get(), header, header->nlmsg_len, 0, reinterpret_cast<sockaddr *>(&kernel),
			   sizeof(kernel)),
		    operation, object);
	bool interrupted = false;
	while (!receive(header->nlmsg_seq, operation, object, visit, interrupted))
		;
	if (interrupted)
		throw Failure{EINTR, operation, object};
}

/* Runs between C frames of libnl, so it must not throw. */
static void keep_object(nl_object *object, void *place) noexcept
{
	nl_object_get(object);
	static_cast<ObjectPtr *>(place)->reset(object);
}

std::vector<ObjectPtr> NetlinkSocket::query(nl_msg *message, const char *operation, const std::string &object,
					    size_t most)
{
	std::vector<ObjectPtr> objects;
	auto parse = [&](nlmsghdr *header) {
		MessagePtr answer(check_allocated(nlmsg_convert(header), operation, object));
		nlmsg_set_proto(answer.get(), protocol_);
		ObjectPtr parsed;
		check_libnl(nl_msg_parse(answer.get(), keep_object, &parsed), operation, object);
		if (!parsed)
			return;
		if (objects.size() == most)
			throw Failure{E2BIG, operation, object};
		objects.push_back(std::move(parsed));
	};
	for (int attempt = 1;; attempt++) {
		objects.clear();
		try {
			exchange(message, operation, object, parse);
			return objects;
		} catch (const Failure &failure) {
			if (failure.error != EINTR || attempt == DUMP_ATTEMPTS)
				throw;
		}
	}
}

RouteSocket::RouteSocket()
    : socket_(std::make_unique<NetlinkSocket>(NETLINK_ROUTE)),
      netns_(netns_text(netns_id(open_current_netns().get()).inode))
{
}

UniqueFd RouteSocket::netns()
{
	return UniqueFd(check_errno(ioctl(socket().fd(), SIOCGSKNS), "find", netns_));
}

std::string RouteSocket::text(const std::string &object) const
{
	return object + " in " + netns_;
}
