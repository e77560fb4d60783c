// SPDX-License-Identifier: MIT
/*
 * Queues of links: token buckets (sch_tbf), whose rates libnl cannot write beyond 32 bits, and those that let
 * frames go by the time written on them (sch_fq), for which libnl has no options of that.
 */
#include "../bpf/abi/queue.h"
#include "net_parts.h"
#include "net_text.h"

#include <cmath>
#include <functional>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>

/*
 * What the queue of a link is called when it is ours: major number in the upper half. One for each kind: the
 * kernel puts no queue of another kind in the place of one by the same name.
 */
static constexpr uint32_t TOKEN_BUCKET = TOKEN_BUCKET_HANDLE;
static constexpr uint32_t DEPARTURE_QUEUE = DEPARTURE_QUEUE_HANDLE;
/* The place inside of a token bucket where packets wait, and the queue there when it counts packets. */
static constexpr uint32_t TOKEN_BUCKET_INSIDE = TOKEN_BUCKET + 1;
static constexpr uint32_t PACKET_QUEUE = 0x71700000;

static MessagePtr queue_message(int type, int flags, int index, uint32_t handle, uint32_t parent = TC_H_ROOT)
{
	tcmsg header = {};
	header.tcm_family = AF_UNSPEC;
	header.tcm_ifindex = index;
	header.tcm_parent = parent;
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

/* That many packets may wait inside of a token bucket, however few their bytes. Those that wait stay. */
static void bound_packets(RouteSocket &route, int index, uint32_t packets)
{
	constexpr const char *operation = "bound packets of";
	std::string object = queue_text(route, index);
	MessagePtr message = queue_message(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, index, PACKET_QUEUE,
					   TOKEN_BUCKET_INSIDE);
	tc_fifo_qopt queue = {.limit = packets};
	check_libnl(nla_put_string(message.get(), TCA_KIND, "pfifo"), operation, object);
	check_libnl(nla_put(message.get(), TCA_OPTIONS, sizeof(queue), &queue), operation, object);
	route.socket().exchange(message.get(), operation, object);
}

/*
 * (socket, index, {rate (bytes a second), burst (bytes), limit (bytes that may wait), packets (that may wait,
 * in place of the bytes)}): in place of any other
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
	MessagePtr message = queue_message(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, index, TOKEN_BUCKET);
	check_libnl(nla_put_string(message.get(), TCA_KIND, "tbf"), operation, object);
	nlattr *nest = check_allocated(nla_nest_start(message.get(), TCA_OPTIONS), operation, object);
	check_libnl(nla_put(message.get(), TCA_TBF_PARMS, sizeof(queue), &queue), operation, object);
	check_libnl(nla_put_u32(message.get(), TCA_TBF_BURST, options.number("burst")), operation, object);
	if (rate > UINT32_MAX)
		check_libnl(nla_put_u64(message.get(), TCA_TBF_RATE64, rate), operation, object);
	nla_nest_end(message.get(), nest);
	route.socket().exchange(message.get(), operation, object);
	if (auto packets = options.number_if("packets"))
		bound_packets(route, index, *packets);
	return info.Env().Undefined();
}

/*
 * (socket, index, {limit (packets that may wait)}): in place of any other. How far ahead a frame may be of
 * its time, and that no socket is slowed by a rate of its own, is for whoever writes the times.
 */
static Napi::Value queue_set_departure_queue(const Napi::CallbackInfo &info)
{
	constexpr const char *operation = "set";
	RouteSocket &route = unwrap<RouteSocket>(info, 0);
	int index = to_queue_index(info[1]);
	uint32_t limit = Options(info[2]).number("limit");

	std::string object = queue_text(route, index);
	MessagePtr message =
	    queue_message(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, index, DEPARTURE_QUEUE);
	check_libnl(nla_put_string(message.get(), TCA_KIND, "fq"), operation, object);
	nlattr *nest = check_allocated(nla_nest_start(message.get(), TCA_OPTIONS), operation, object);
	check_libnl(nla_put_u32(message.get(), TCA_FQ_PLIMIT, limit), operation, object);
	check_libnl(nla_put_u32(message.get(), TCA_FQ_FLOW_PLIMIT, limit), operation, object);
	check_libnl(nla_put_u32(message.get(), TCA_FQ_RATE_ENABLE, 0), operation, object);
	check_libnl(nla_put_u32(message.get(), TCA_FQ_HORIZON, UINT32_MAX), operation, object); /* us */
	nla_nest_end(message.get(), nest);
	route.socket().exchange(message.get(), operation, object);
	return info.Env().Undefined();
}

/* {kind, rate, limit} of a token bucket */
static Napi::Value token_bucket_info(Napi::Env env, nlattr *options)
{
	nlattr *own[TCA_TBF_MAX + 1];
	if (nla_parse_nested(own, TCA_TBF_MAX, options, nullptr) || !own[TCA_TBF_PARMS] ||
	    nla_len(own[TCA_TBF_PARMS]) < static_cast<int>(sizeof(tc_tbf_qopt)))
		return env.Undefined();
	auto *queue = static_cast<tc_tbf_qopt *>(nla_data(own[TCA_TBF_PARMS]));
	uint64_t rate = own[TCA_TBF_RATE64] ? nla_get_u64(own[TCA_TBF_RATE64]) : queue->rate.rate;
	Napi::Object found = Napi::Object::New(env);
	found.Set("kind", "tbf");
	found.Set("rate", static_cast<double>(rate));
	found.Set("limit", queue->limit);
	return found;
}

/* {kind, limit} of one that goes by departure times; limit 0: it is not as it was set here. */
static Napi::Value departure_queue_info(Napi::Env env, nlattr *options)
{
	nlattr *own[TCA_FQ_MAX + 1];
	if (nla_parse_nested(own, TCA_FQ_MAX, options, nullptr))
		return env.Undefined();
	auto is = [&](int attribute, uint32_t value) {
		return own[attribute] && nla_get_u32(own[attribute]) == value;
	};
	uint32_t limit = own[TCA_FQ_PLIMIT] ? nla_get_u32(own[TCA_FQ_PLIMIT]) : 0;
	bool unchanged =
	    is(TCA_FQ_FLOW_PLIMIT, limit) && is(TCA_FQ_RATE_ENABLE, 0) && is(TCA_FQ_HORIZON, UINT32_MAX);
	Napi::Object found = Napi::Object::New(env);
	found.Set("kind", "fq");
	found.Set("limit", unchanged ? limit : 0);
	return found;
}

/* undefined: the message is of a queue that is none of ours. */
static Napi::Value queue_info(Napi::Env env, nlmsghdr *header)
{
	auto *about = static_cast<tcmsg *>(nlmsg_data(header));
	nlattr *attributes[TCA_MAX + 1];
	if (nlmsg_parse(header, sizeof(tcmsg), attributes, TCA_MAX, nullptr) || !attributes[TCA_KIND] ||
	    !attributes[TCA_OPTIONS])
		return env.Undefined();
	if (about->tcm_handle == TOKEN_BUCKET && nla_strcmp(attributes[TCA_KIND], "tbf") == 0)
		return token_bucket_info(env, attributes[TCA_OPTIONS]);
	if (about->tcm_handle == DEPARTURE_QUEUE && nla_strcmp(attributes[TCA_KIND], "fq") == 0)
		return departure_queue_info(env, attributes[TCA_OPTIONS]);
	return env.Undefined();
}

/* The link has no queue that was set here. EINVAL: it has what every link has unless told otherwise, or
 * another. */
static bool has_none(const Failure &failure)
{
	return failure.error == ENOENT || failure.error == EINVAL || failure.error == ENODEV;
}

/* Each message that the kernel answers with about the queue of that handle at that place; none, if there is
 * none. */
static void read_queue(RouteSocket &route, int index, uint32_t handle, uint32_t parent,
		       const std::function<void(nlmsghdr *)> &on_queue)
{
	/* The kernel tells who listens to changes, and who asks only with this flag. */
	MessagePtr message = queue_message(RTM_GETQDISC, NLM_F_ECHO, index, handle, parent);
	try {
		route.socket().exchange(message.get(), "read", queue_text(route, index),
					[&](nlmsghdr *header) {
						if (header->nlmsg_type == RTM_NEWQDISC)
							on_queue(header);
					});
	} catch (const Failure &failure) {
		if (!has_none(failure))
			throw;
	}
}

/* Packets that may wait inside of a token bucket; none: bytes are counted there. */
static std::optional<uint32_t> packets_inside(RouteSocket &route, int index)
{
	std::optional<uint32_t> packets;
	read_queue(route, index, PACKET_QUEUE, TOKEN_BUCKET_INSIDE, [&](nlmsghdr *header) {
		nlattr *options = nlmsg_find_attr(header, sizeof(tcmsg), TCA_OPTIONS);
		nlattr *kind = nlmsg_find_attr(header, sizeof(tcmsg), TCA_KIND);
		if (kind && nla_strcmp(kind, "pfifo") == 0 && options &&
		    nla_len(options) >= static_cast<int>(sizeof(tc_fifo_qopt)))
			packets = static_cast<tc_fifo_qopt *>(nla_data(options))->limit;
	});
	return packets;
}

/* (socket, index): what the link's queue is; undefined when it has none that was set here */
static Napi::Value queue_get(const Napi::CallbackInfo &info)
{
	RouteSocket &route = unwrap<RouteSocket>(info, 0);
	int index = to_queue_index(info[1]);
	Napi::Value found = info.Env().Undefined();
	bool is_token_bucket = false;
	read_queue(route, index, 0, TC_H_ROOT, [&](nlmsghdr *header) {
		found = queue_info(info.Env(), header);
		is_token_bucket = static_cast<tcmsg *>(nlmsg_data(header))->tcm_handle == TOKEN_BUCKET;
	});
	if (!found.IsObject() || !is_token_bucket)
		return found;
	if (auto packets = packets_inside(route, index))
		found.As<Napi::Object>().Set("packets", *packets);
	return found;
}

static bool remove_queue(RouteSocket &route, int index, uint32_t handle)
{
	MessagePtr message = queue_message(RTM_DELQDISC, 0, index, handle);
	try {
		route.socket().exchange(message.get(), "remove", queue_text(route, index));
	} catch (const Failure &failure) {
		if (!has_none(failure))
			throw;
		return false;
	}
	return true;
}

/* (socket, index): false when the link has no queue that was set here */
static Napi::Value queue_remove(const Napi::CallbackInfo &info)
{
	RouteSocket &route = unwrap<RouteSocket>(info, 0);
	int index = to_queue_index(info[1]);
	bool removed =
	    remove_queue(route, index, TOKEN_BUCKET) || remove_queue(route, index, DEPARTURE_QUEUE);
	return Napi::Boolean::New(info.Env(), removed);
}

void define_queues(Napi::Env env, Napi::Object exports)
{
	define<queue_set_token_bucket>(env, exports, "queueSetTokenBucket");
	define<queue_set_departure_queue>(env, exports, "queueSetDepartureQueue");
	define<queue_get>(env, exports, "queueGet");
	define<queue_remove>(env, exports, "queueRemove");
}
