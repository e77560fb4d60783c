// SPDX-License-Identifier: MIT
/* Filters of the clsact queueing discipline, for kernels without TCX. Ours is known by its priority and
 * handle. */
#include "bpf_addon.h"

#include "args.h"
#include "bpf_resources.h"
#include "net_socket.h"

#include <bpf/libbpf.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>

namespace
{

struct Place {
	bpf_tc_hook hook;
	bpf_tc_opts filter;
	std::string text;
};

/* arguments from `index` on: ifindex, ingress, handle, priority */
Place read_place(const Napi::CallbackInfo &info, size_t index)
{
	Place place = {};
	place.hook.sz = sizeof(place.hook);
	place.hook.ifindex = to_u32(info[index], "ifindex");
	bool ingress = info[index + 1].ToBoolean();
	place.hook.attach_point = ingress ? BPF_TC_INGRESS : BPF_TC_EGRESS;
	place.filter.sz = sizeof(place.filter);
	place.filter.handle = to_u32(info[index + 2], "handle");
	place.filter.priority = to_u32(info[index + 3], "priority");
	if (place.filter.handle == 0 || place.filter.priority == 0 || place.filter.priority > UINT16_MAX)
		throw Napi::RangeError::New(info.Env(), "handle must not be 0, priority must be 1 to 65535");
	place.text =
	    std::string(ingress ? "ingress" : "egress") + " of ifindex " + std::to_string(place.hook.ifindex);
	return place;
}

/* No filter (ENOENT), or not even the queueing discipline (EINVAL). */
bool is_absent(int result)
{
	return result == -ENOENT || result == -EINVAL;
}

/* arguments: program, place. The filter is replaced in one step by the kernel if it is there. */
Napi::Value clsact_attach(const Napi::CallbackInfo &info)
{
	int program = resource<Program>(info, 0)->fd.get();
	Place place = read_place(info, 1);
	if (int result = bpf_tc_hook_create(&place.hook); result != -EEXIST)
		check(result, "make clsact for", place.text);
	place.filter.prog_fd = program;
	place.filter.flags = BPF_TC_F_REPLACE;
	check(bpf_tc_attach(&place.hook, &place.filter), "attach clsact filter at", place.text);
	return info.Env().Undefined();
}

/* false: there was none. The queueing discipline stays: others may use it, and it costs nothing. */
Napi::Value clsact_detach(const Napi::CallbackInfo &info)
{
	Place place = read_place(info, 0);
	int result = bpf_tc_detach(&place.hook, &place.filter);
	if (!is_absent(result))
		check(result, "detach clsact filter at", place.text);
	return Napi::Boolean::New(info.Env(), result == 0);
}

/* The kernel's name of the queueing discipline that has the filters of both hooks, or of one; none: empty. */
std::string qdisc_kind(uint32_t ifindex)
{
	tcmsg about = {};
	about.tcm_family = AF_UNSPEC;
	about.tcm_ifindex = static_cast<int>(ifindex);
	MessagePtr message = new_message(RTM_GETQDISC, NLM_F_DUMP, about);
	NetlinkSocket socket(NETLINK_ROUTE);
	std::string kind;
	/* Not by asking for that one: to such a question older kernels answer to everybody who watches. */
	socket.exchange(message.get(), "list", "queueing disciplines", [&](nlmsghdr *header) {
		auto *found = static_cast<tcmsg *>(nlmsg_data(header));
		nlattr *attributes[TCA_MAX + 1];
		if (header->nlmsg_type != RTM_NEWQDISC || found->tcm_ifindex != about.tcm_ifindex ||
		    found->tcm_parent != TC_H_CLSACT ||
		    nlmsg_parse(header, sizeof(tcmsg), attributes, TCA_MAX, nullptr))
			return;
		if (attributes[TCA_KIND])
			kind = nla_get_string(attributes[TCA_KIND]);
	});
	return kind;
}

/* arguments: ifindex. What is there now: "clsact", which is made where there is nothing, or "ingress". */
Napi::Value clsact_ensure(const Napi::CallbackInfo &info)
{
	bpf_tc_hook hook = {};
	hook.sz = sizeof(hook);
	hook.ifindex = static_cast<int>(to_u32(info[0], "ifindex"));
	hook.attach_point = BPF_TC_INGRESS;
	int result = bpf_tc_hook_create(&hook);
	if (result != -EEXIST)
		check(result, "make clsact for", "ifindex " + std::to_string(hook.ifindex));
	std::string kind = result == 0 ? "clsact" : qdisc_kind(to_u32(info[0], "ifindex"));
	return Napi::String::New(info.Env(), kind);
}

/*
 * arguments: ifindex. Puts clsact in the place of "ingress", with whose filters it goes. Not in one step:
 * kernels before 6.5 free what is still in use when they do that.
 */
Napi::Value clsact_replace_ingress(const Napi::CallbackInfo &info)
{
	tcmsg about = {};
	about.tcm_family = AF_UNSPEC;
	about.tcm_ifindex = static_cast<int>(to_u32(info[0], "ifindex"));
	about.tcm_parent = TC_H_INGRESS;
	about.tcm_handle = TC_H_MAKE(TC_H_INGRESS, 0);
	std::string object = "ingress of ifindex " + std::to_string(about.tcm_ifindex);
	MessagePtr message = new_message(RTM_DELQDISC, 0, about);
	check_libnl(nla_put_string(message.get(), TCA_KIND, "ingress"), "remove", object);
	NetlinkSocket(NETLINK_ROUTE).exchange(message.get(), "remove", object);
	return clsact_ensure(info);
}

/* {handle, priority, programId} of a filter that every packet meets; else undefined. */
Napi::Value filter_value(Napi::Env env, nlmsghdr *header)
{
	auto *about = static_cast<tcmsg *>(nlmsg_data(header));
	nlattr *attributes[TCA_MAX + 1], *own[TCA_BPF_MAX + 1] = {};
	/* Of a priority without a filter the handle is 0. */
	if (header->nlmsg_type != RTM_NEWTFILTER || about->tcm_handle == 0 ||
	    nlmsg_parse(header, sizeof(tcmsg), attributes, TCA_MAX, nullptr))
		return env.Undefined();
	/* Others are met only when a filter of this one leads there. */
	if (attributes[TCA_CHAIN] && nla_get_u32(attributes[TCA_CHAIN]) != 0)
		return env.Undefined();
	bool is_bpf = attributes[TCA_KIND] && nla_strcmp(attributes[TCA_KIND], "bpf") == 0;
	if (is_bpf && attributes[TCA_OPTIONS] &&
	    nla_parse_nested(own, TCA_BPF_MAX, attributes[TCA_OPTIONS], nullptr))
		return env.Undefined();
	auto filter = Napi::Object::New(env);
	filter.Set("handle", about->tcm_handle);
	filter.Set("priority", about->tcm_info >> 16);
	filter.Set("programId", own[TCA_BPF_ID] ? nla_get_u32(own[TCA_BPF_ID]) : 0);
	return filter;
}

/*
 * arguments: ifindex, ingress. Whoever's filters, in the order in which they run; programId 0: of another
 * kind. Empty without the queueing discipline, or the interface.
 */
Napi::Value clsact_line(const Napi::CallbackInfo &info)
{
	tcmsg about = {};
	about.tcm_family = AF_UNSPEC;
	about.tcm_ifindex = static_cast<int>(to_u32(info[0], "ifindex"));
	about.tcm_parent = TC_H_MAKE(TC_H_CLSACT, info[1].ToBoolean() ? TC_H_MIN_INGRESS : TC_H_MIN_EGRESS);
	MessagePtr message = new_message(RTM_GETTFILTER, NLM_F_DUMP, about);
	NetlinkSocket socket(NETLINK_ROUTE);
	auto line = Napi::Array::New(info.Env());
	socket.exchange(message.get(), "list", "filters of ifindex " + std::to_string(about.tcm_ifindex),
			[&](nlmsghdr *header) {
				Napi::Value filter = filter_value(info.Env(), header);
				if (filter.IsObject())
					line.Set(line.Length(), filter);
			});
	return line;
}

} // namespace

void init_bpf_clsact(Napi::Env env, Napi::Object exports)
{
	define<clsact_attach>(env, exports, "clsactAttach");
	define<clsact_detach>(env, exports, "clsactDetach");
	define<clsact_ensure>(env, exports, "clsactEnsure");
	define<clsact_replace_ingress>(env, exports, "clsactReplaceIngress");
	define<clsact_line>(env, exports, "clsactLine");
}
