// SPDX-License-Identifier: MIT
/* Queues of links: token buckets (sch_tbf), whose rates libnl cannot write beyond 32 bits. */
#include "net_parts.h"
#include "net_text.h"

#include <cmath>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>

/* What the queue of a link is called when it is ours: major number in the upper half. */
static constexpr uint32_t HANDLE = 0x716e0000;

static MessagePtr queue_message(int type, int flags, int index, uint32_t handle)
{
	tcmsg header = {};
	header.tcm_family = AF_UNSPEC;
	header.tcm_ifindex = index;
	header.tcm_parent = TC_H_ROOT;
	header.tcm_handle = handle;
	return new_message(type, flags, header);
}

static std::string queue_text(const RouteSocket &route, int index)
{
	return route.text("queue of " + index_text(index));
}

/* Bytes a second: an integer of 64 bits, as far as JavaScript has them. */
static uint64_t to_rate(Napi::Value value)
{
	if (!value.IsNumber())
		throw Napi::TypeError::New(value.Env(), "rate must be a number");
	double rate = value.As<Napi::Number>().DoubleValue();
	if (!(rate >= 1 && rate <= 0x1p53) || rate != std::floor(rate))
		throw Napi::RangeError::New(value.Env(), "rate must be a positive integer");
	return static_cast<uint64_t>(rate);
}

static int to_queue_index(Napi::Value value)
{
	uint32_t index = to_u32(value, "index");
	if (index == 0 || index > INT32_MAX)
		throw Napi::RangeError::New(value.Env(), "index is no interface index");
	return static_cast<int>(index);
}

/* (socket, index, {rate (bytes a second), burst (bytes), limit (bytes that may wait)}): in place of any other
 */
static Napi::Value queue_set_token_bucket(const Napi::CallbackInfo &info)
{
	constexpr const char *operation = "set";
	RouteSocket &route = unwrap<RouteSocket>(info, 0);
	int index = to_queue_index(info[1]);
	Options options(info[2]);
	uint64_t rate = to_rate(info[2].As<Napi::Object>().Get("rate"));
	tc_tbf_qopt queue = {};
	queue.rate.rate = rate > UINT32_MAX ? UINT32_MAX : static_cast<uint32_t>(rate);
	queue.rate.linklayer = TC_LINKLAYER_ETHERNET;
	queue.limit = options.number("limit");

	std::string object = queue_text(route, index);
	MessagePtr message = queue_message(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, index, HANDLE);
	check_libnl(nla_put_string(message.get(), TCA_KIND, "tbf"), operation, object);
	nlattr *nest = check_allocated(nla_nest_start(message.get(), TCA_OPTIONS), operation, object);
	check_libnl(nla_put(message.get(), TCA_TBF_PARMS, sizeof(queue), &queue), operation, object);
	check_libnl(nla_put_u32(message.get(), TCA_TBF_BURST, options.number("burst")), operation, object);
	if (rate > UINT32_MAX)
		check_libnl(nla_put_u64(message.get(), TCA_TBF_RATE64, rate), operation, object);
	nla_nest_end(message.get(), nest);
	route.socket().exchange(message.get(), operation, object);
	return info.Env().Undefined();
}

/* {rate, limit} of a token bucket of ours; undefined: the message is of another queue. */
static Napi::Value token_bucket_info(Napi::Env env, nlmsghdr *header)
{
	auto *about = static_cast<tcmsg *>(nlmsg_data(header));
	nlattr *attributes[TCA_MAX + 1], *own[TCA_TBF_MAX + 1];
	if (nlmsg_parse(header, sizeof(tcmsg), attributes, TCA_MAX, nullptr) || !attributes[TCA_KIND] ||
	    !attributes[TCA_OPTIONS] || about->tcm_handle != HANDLE ||
	    nla_strcmp(attributes[TCA_KIND], "tbf") != 0 ||
	    nla_parse_nested(own, TCA_TBF_MAX, attributes[TCA_OPTIONS], nullptr) || !own[TCA_TBF_PARMS] ||
	    nla_len(own[TCA_TBF_PARMS]) < static_cast<int>(sizeof(tc_tbf_qopt)))
		return env.Undefined();
	auto *queue = static_cast<tc_tbf_qopt *>(nla_data(own[TCA_TBF_PARMS]));
	uint64_t rate = own[TCA_TBF_RATE64] ? nla_get_u64(own[TCA_TBF_RATE64]) : queue->rate.rate;
	Napi::Object found = Napi::Object::New(env);
	found.Set("rate", static_cast<double>(rate));
	found.Set("limit", queue->limit);
	return found;
}

/* The link has no queue that was set here. EINVAL: it has what every link has unless told otherwise, or
 * another. */
static bool has_none(const Failure &failure)
{
	return failure.error == ENOENT || failure.error == EINVAL || failure.error == ENODEV;
}

/* (socket, index): {rate, limit} of the link's queue; undefined when it has none that was set here */
static Napi::Value queue_get_token_bucket(const Napi::CallbackInfo &info)
{
	RouteSocket &route = unwrap<RouteSocket>(info, 0);
	int index = to_queue_index(info[1]);
	/* The kernel tells who listens to changes, and who asks only with this flag. */
	MessagePtr message = queue_message(RTM_GETQDISC, NLM_F_ECHO, index, 0);
	Napi::Value found = info.Env().Undefined();
	try {
		route.socket().exchange(message.get(), "read", queue_text(route, index),
					[&](nlmsghdr *header) {
						if (header->nlmsg_type == RTM_NEWQDISC)
							found = token_bucket_info(info.Env(), header);
					});
	} catch (const Failure &failure) {
		if (!has_none(failure))
			throw;
	}
	return found;
}

/* (socket, index): false when the link has no queue that was set here */
static Napi::Value queue_remove_token_bucket(const Napi::CallbackInfo &info)
{
	RouteSocket &route = unwrap<RouteSocket>(info, 0);
	int index = to_queue_index(info[1]);
	MessagePtr message = queue_message(RTM_DELQDISC, 0, index, HANDLE);
	try {
		route.socket().exchange(message.get(), "remove", queue_text(route, index));
	} catch (const Failure &failure) {
		if (!has_none(failure))
			throw;
		return Napi::Boolean::New(info.Env(), false);
	}
	return Napi::Boolean::New(info.Env(), true);
}

void define_queues(Napi::Env env, Napi::Object exports)
{
	define<queue_set_token_bucket>(env, exports, "queueSetTokenBucket");
	define<queue_get_token_bucket>(env, exports, "queueGetTokenBucket");
	define<queue_remove_token_bucket>(env, exports, "queueRemoveTokenBucket");
}
