// SPDX-License-Identifier: MIT
/*
 * Notices of changed links, addresses, routes and filters. A thread drains the kernel's notices into bits,
 * and the environment's thread is called once for whatever has gathered until it gets to it: nothing queues
 * up, however much changes.
 */
#include "args.h"
#include "net_parts.h"
#include "net_socket.h"
#include "netns.h"

#include <linux/rtnetlink.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <atomic>
#include <system_error>
#include <thread>

enum Change : uint32_t {
	CHANGE_LINK = 1,
	CHANGE_ADDRESS = 2,
	CHANGE_ROUTE = 4,
	CHANGE_FILTER = 8,
};

/* Shared by the watcher, its thread and the call that is under way. */
struct WatchState {
	std::atomic<uint32_t> changes = 0;
};

static void deliver(Napi::Env env, Napi::Function callback, std::shared_ptr<WatchState> *state, void *)
{
	/* No env: the environment is ending. */
	if (env == nullptr || callback.IsEmpty())
		return;
	if (uint32_t changes = (*state)->changes.exchange(0))
		callback.Call({Napi::Number::New(env, changes)});
}
using Delivery = Napi::TypedThreadSafeFunction<std::shared_ptr<WatchState>, void, deliver>;

static uint32_t change_of(int message_type)
{
	switch (message_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		return CHANGE_LINK;
	case RTM_NEWADDR:
	case RTM_DELADDR:
		return CHANGE_ADDRESS;
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		return CHANGE_ROUTE;
	case RTM_NEWQDISC:
	case RTM_DELQDISC:
	case RTM_NEWTFILTER:
	case RTM_DELTFILTER:
		return CHANGE_FILTER;
	default:
		return 0;
	}
}

/* Everything that waits in the socket. Notices that the kernel had to drop count as changes of every kind. */
static uint32_t drain(int fd, uint32_t kinds)
{
	alignas(nlmsghdr) char buffer[32 * 1024];
	uint32_t changes = 0;
	for (;;) {
		ssize_t received = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
		if (received < 0 && errno == EINTR)
			continue;
		if (received < 0 && errno == ENOBUFS) {
			changes |= kinds;
			continue;
		}
		if (received <= 0)
			return changes;
		int left = static_cast<int>(received);
		for (auto *header = reinterpret_cast<nlmsghdr *>(buffer); nlmsg_ok(header, left);
		     header = nlmsg_next(header, &left))
			changes |= change_of(header->nlmsg_type);
	}
}

class Watcher final : public Handle
{
      public:
	static constexpr const char *NAME = "link watch";

	/* In the namespace that the calling thread is in; of these kinds, bits of Change. */
	Watcher(Napi::Env env, uint32_t kinds, Napi::Function callback)
	    : env_(env), kinds_(kinds), socket_(std::make_unique<NetlinkSocket>(NETLINK_ROUTE)),
	      stop_(check_errno(eventfd(0, EFD_CLOEXEC), "create", "event descriptor"))
	{
		if (kinds & CHANGE_LINK)
			join(RTNLGRP_LINK);
		if (kinds & CHANGE_ADDRESS) {
			join(RTNLGRP_IPV4_IFADDR);
			join(RTNLGRP_IPV6_IFADDR);
		}
		if (kinds & CHANGE_ROUTE) {
			join(RTNLGRP_IPV4_ROUTE);
			join(RTNLGRP_IPV6_ROUTE);
		}
		if (kinds & CHANGE_FILTER)
			join(RTNLGRP_TC);
		auto *context = new std::shared_ptr<WatchState>(state_);
		delivery_ = Delivery::New(
		    env, callback, "link watch", 0, 1, context,
		    [](Napi::Env, void *, std::shared_ptr<WatchState> *state) { delete state; },
		    static_cast<void *>(nullptr));
		delivery_.Unref(env);
		try {
			thread_ = std::thread([this] { run(); });
		} catch (const std::system_error &) {
			delivery_.Release();
			throw Failure{EAGAIN, "start thread for", NAME};
		}
		/* Runs before the environment takes the thread-safe function away. */
		napi_add_env_cleanup_hook(env_, stop_hook, this);
	}
	~Watcher() override
	{
		close();
	}
	void close()
	{
		if (!thread_.joinable())
			return;
		napi_remove_env_cleanup_hook(env_, stop_hook, this);
		stop();
	}

      private:
	void join(int group)
	{
		check_errno(
		    setsockopt(socket_->fd(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)),
		    "watch", "links, addresses, routes and filters");
	}
	static void stop_hook(void *watcher)
	{
		static_cast<Watcher *>(watcher)->stop();
	}
	void stop()
	{
		uint64_t one = 1;
		ssize_t written = write(stop_.get(), &one, sizeof(one));
		(void)written; /* cannot fail: the counter is 0 */
		thread_.join();
		delivery_.Release();
		/* Not left to the garbage collector, as the object itself is. */
		socket_.reset();
		stop_.reset();
	}
	void run()
	{
		pollfd sources[] = {{socket_->fd(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
		for (;;) {
			if (poll(sources, 2, -1) < 0 && errno != EINTR)
				return;
			if (sources[1].revents)
				return;
			if (!sources[0].revents)
				continue;
			uint32_t changes = drain(socket_->fd(), kinds_);
			/* When bits were set already, the call for them is still to come and takes these
			 * along. */
			if (changes && state_->changes.fetch_or(changes) == 0)
				delivery_.NonBlockingCall();
		}
	}

	napi_env env_;
	uint32_t kinds_;
	std::unique_ptr<NetlinkSocket> socket_;
	UniqueFd stop_;
	std::shared_ptr<WatchState> state_ = std::make_shared<WatchState>();
	Delivery delivery_;
	std::thread thread_;
};

/* (socket, kinds: bits, callback(changes: bits)): in the namespace of that socket, which may be closed
 * afterwards */
static Napi::Value watch_open(const Napi::CallbackInfo &info)
{
	RouteSocket &route = unwrap<RouteSocket>(info, 0);
	uint32_t kinds = to_u32(info[1], "kinds");
	if (!info[2].IsFunction())
		throw Napi::TypeError::New(info.Env(), "the callback must be a function");
	NetnsScope scope(route.netns().get());
	return wrap(info.Env(), std::make_unique<Watcher>(info.Env(), kinds, info[2].As<Napi::Function>()));
}

static Napi::Value watch_close(const Napi::CallbackInfo &info)
{
	unwrap<Watcher>(info, 0).close();
	return info.Env().Undefined();
}

void define_watch(Napi::Env env, Napi::Object exports)
{
	define<watch_open>(env, exports, "watchOpen");
	define<watch_close>(env, exports, "watchClose");
}
