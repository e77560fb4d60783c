// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Hooks of the root cgroup: sockets of the node's own processes reach port mappings and services, also at
 * 127.0.0.1 and ::1. The backend is chosen when a socket connects, or sends without; from then on it talks to
 * that container by the host's stack, where to_container judges it as the node's. The socket goes on to see
 * the address that it asked for.
 *
 * The hooks see every socket of the machine. Those of other network namespaces (containers, other nodes) are
 * none of ours, whatever they ask for: this namespace's cookie is never given again, so hooks that outlive
 * their node touch nobody.
 */
#include <linux/errno.h>

#include "lib/frontend.h"

/* Cookie of the node's network namespace, set when the programs are loaded. */
const volatile __u64 node_netns = 0;

/* Values of these hooks. */
#define PROCEED 1
#define REFUSE	0

enum route {
	ROUTE_ASKED,   /* to what was asked for */
	ROUTE_BACKEND, /* to a backend, which stands in its place now */
	ROUTE_NOWHERE,
};

/* Where a socket wants to go, and then goes. */
struct target {
	struct ip_address address;
	__be16 port;
};

static __always_inline bool is_ours(struct bpf_sock_addr *ctx)
{
	return bpf_get_netns_cookie(ctx) == node_netns;
}

/* The compiler would read half of the field, which the verifier does not take on every kernel. */
static __always_inline __be16 port_of(const struct bpf_sock_addr *ctx)
{
	return (__be16) * (const volatile __u32 *)&ctx->user_port;
}

static __always_inline void target_of_ip4(const struct bpf_sock_addr *ctx, struct target *target)
{
	address_from_ip4(&target->address, ctx->user_ip4);
	target->port = port_of(ctx);
}

/* Also of IPv4 destinations in their mapped form, which is how we write them anyway. */
static __always_inline void target_of_ip6(const struct bpf_sock_addr *ctx, struct target *target)
{
#pragma unroll
	for (int i = 0; i < 4; i++)
		target->address.word[i] = ctx->user_ip6[i];
	target->port = port_of(ctx);
}

static __always_inline void set_ip4(struct bpf_sock_addr *ctx, const struct target *target)
{
	ctx->user_ip4 = target->address.word[3];
	ctx->user_port = target->port;
}

static __always_inline void set_ip6(struct bpf_sock_addr *ctx, const struct target *target)
{
#pragma unroll
	for (int i = 0; i < 4; i++)
		ctx->user_ip6[i] = target->address.word[i];
	ctx->user_port = target->port;
}

/* As the kernel does: 0.0.0.0 is 127.0.0.1 and :: is ::1. */
static __always_inline void specify(struct ip_address *address)
{
	if (address_is_ip4_mapped(address) && !address->word[3])
		address->word[3] = bpf_htonl(0x7f000001);
	else if (address_is_zero(address))
		address->word[3] = bpf_htonl(1);
}

/* 127.0.0.0/8 and ::1 */
static __always_inline bool address_is_loopback(const struct ip_address *address)
{
	if (address_is_ip4_mapped(address))
		return (address->word[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
	return !(address->word[0] | address->word[1] | address->word[2]) && address->word[3] == bpf_htonl(1);
}

/* enum prefix_kind of an address; 0: it is in no network of ours. */
static __always_inline __u32 prefix_kind_of(const struct ip_address *address)
{
	struct prefix_key prefix = {.prefix_length = 128, .address = *address};
	struct prefix_entry *in;

	if (address_is_loopback(address))
		return PREFIX_HOST;
	in = bpf_map_lookup_elem(&qn_prefixes, &prefix);
	return in ? in->kind : 0;
}

/*
 * All datagrams that an unconnected socket sends to one frontend go to the same backend, as long as there are
 * the same; connections are spread.
 */
static __always_inline __u32 choice_of(struct bpf_sock_addr *ctx, const struct frontend *frontend,
				       bool connects)
{
	struct ip_address socket = {};
	__u64 cookie;

	if (connects)
		return bpf_get_prandom_u32();
	cookie = bpf_get_socket_cookie(ctx);
	socket.word[0] = (__be32)cookie;
	socket.word[1] = (__be32)(cookie >> 32);
	return client_hash(&socket, 0, frontend->id);
}

static __always_inline void remember(struct bpf_sock_addr *ctx, const struct target *asked,
				     const struct backend *backend)
{
	struct node_peer peer __attribute__((aligned(8))) = {.address = asked->address, .port = asked->port};
	struct node_peer *known;

	peer.key.socket = bpf_get_socket_cookie(ctx);
	peer.key.address = backend->address;
	peer.key.port = backend->port;
	known = bpf_map_lookup_elem(&qn_node_peers, &peer.key);
	if (known && known->key.socket == peer.key.socket && known->port == peer.port &&
	    address_equal(&known->address, &peer.address))
		return;
	peer.seal = seal_of(&peer, sizeof(peer));
	bpf_map_update_elem(&qn_node_peers, &peer.key, &peer, BPF_ANY);
}

static __always_inline enum route route(struct bpf_sock_addr *ctx, struct target *target, bool connects)
{
	struct ip_address node = {}; /* all of its processes are one client */
	__u8 protocol = (__u8)ctx->protocol;
	struct frontend frontend __attribute__((aligned(8)));
	struct choice choice;
	struct backend *backend = &choice.backend;
	__u64 now = bpf_ktime_get_ns();
	__u32 kind;

	if (ctx->protocol != IPPROTO_TCP && ctx->protocol != IPPROTO_UDP)
		return ROUTE_ASKED;
	specify(&target->address);
	kind = prefix_kind_of(&target->address);
	if (!frontend_find(&target->address, target->port, protocol, kind == PREFIX_HOST, &frontend))
		return kind == PREFIX_SERVICE ? ROUTE_NOWHERE : ROUTE_ASKED;
	if (!backend_choose(&frontend, &node, choice_of(ctx, &frontend, connects), now, &choice))
		return ROUTE_NOWHERE;
	/* Nobody translates between the families. */
	if (address_is_ip4_mapped(&backend->address) != address_is_ip4_mapped(&target->address))
		return ROUTE_NOWHERE;
	affinity_keep(frontend.id, &node, choice.index, frontend.affinity_s, now);
	remember(ctx, target, backend);
	target->address = backend->address;
	target->port = backend->port;
	return ROUTE_BACKEND;
}

/* As a host that nobody listens on would. */
static __always_inline int refuse(void)
{
	bpf_set_retval(-ECONNREFUSED);
	return REFUSE;
}

static __always_inline int send_ip4(struct bpf_sock_addr *ctx, bool connects)
{
	struct target target;
	enum route chosen;

	if (!is_ours(ctx))
		return PROCEED;
	target_of_ip4(ctx, &target);
	chosen = route(ctx, &target, connects);
	if (chosen == ROUTE_NOWHERE)
		return refuse();
	if (chosen == ROUTE_BACKEND)
		set_ip4(ctx, &target);
	return PROCEED;
}

static __always_inline int send_ip6(struct bpf_sock_addr *ctx, bool connects)
{
	struct target target;
	enum route chosen;

	if (!is_ours(ctx))
		return PROCEED;
	target_of_ip6(ctx, &target);
	chosen = route(ctx, &target, connects);
	if (chosen == ROUTE_NOWHERE)
		return refuse();
	if (chosen == ROUTE_BACKEND)
		set_ip6(ctx, &target);
	return PROCEED;
}

/* Puts what the socket asked for in the place of who answers; false: they are the same. */
static __always_inline bool recall(struct bpf_sock_addr *ctx, struct target *target)
{
	struct node_peer_key key = {.address = target->address, .port = target->port};
	struct node_peer peer __attribute__((aligned(8)));
	struct node_peer *found;

	key.socket = bpf_get_socket_cookie(ctx);
	found = bpf_map_lookup_elem(&qn_node_peers, &key);
	if (!found || !sealed_copy(&peer, found, sizeof(peer)) || peer.key.socket != key.socket ||
	    peer.key.port != key.port || !address_equal(&peer.key.address, &key.address))
		return false;
	target->address = peer.address;
	target->port = peer.port;
	return true;
}

static __always_inline int show_ip4(struct bpf_sock_addr *ctx)
{
	struct target target;

	if (!is_ours(ctx))
		return PROCEED;
	target_of_ip4(ctx, &target);
	if (recall(ctx, &target))
		set_ip4(ctx, &target);
	return PROCEED;
}

static __always_inline int show_ip6(struct bpf_sock_addr *ctx)
{
	struct target target;

	if (!is_ours(ctx))
		return PROCEED;
	target_of_ip6(ctx, &target);
	if (recall(ctx, &target))
		set_ip6(ctx, &target);
	return PROCEED;
}

SEC("cgroup/connect4")
int node_connect4(struct bpf_sock_addr *ctx)
{
	return send_ip4(ctx, true);
}

SEC("cgroup/connect6")
int node_connect6(struct bpf_sock_addr *ctx)
{
	return send_ip6(ctx, true);
}

SEC("cgroup/sendmsg4")
int node_sendmsg4(struct bpf_sock_addr *ctx)
{
	return send_ip4(ctx, false);
}

SEC("cgroup/sendmsg6")
int node_sendmsg6(struct bpf_sock_addr *ctx)
{
	return send_ip6(ctx, false);
}

SEC("cgroup/recvmsg4")
int node_recvmsg4(struct bpf_sock_addr *ctx)
{
	return show_ip4(ctx);
}

SEC("cgroup/recvmsg6")
int node_recvmsg6(struct bpf_sock_addr *ctx)
{
	return show_ip6(ctx);
}

SEC("cgroup/getpeername4")
int node_peername4(struct bpf_sock_addr *ctx)
{
	return show_ip4(ctx);
}

SEC("cgroup/getpeername6")
int node_peername6(struct bpf_sock_addr *ctx)
{
	return show_ip6(ctx);
}

char _license[] SEC("license") = "Dual MIT/GPL";
