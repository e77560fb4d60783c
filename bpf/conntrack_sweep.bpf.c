// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Run by the daemon (BPF_PROG_RUN), attached to nothing: removes records that have expired, those of
 * endpoints that are gone, those of datagrams to a container that no longer serves, and those that the policy
 * no longer allows, so that a connection is cut even while it is idle. It decides with the same code as the
 * data path, next to the data: nothing is copied to user space.
 *
 * With records in flush it removes those and looks at no other.
 */
#include "lib/connection.h"
#include "lib/frontend.h"

/*
 * Records that the daemon wants gone, by the nonce that each had when it looked: what the key leads to by now
 * may be another. The daemon fills it before a run and empties it after. Not pinned: it is this program's
 * own.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct conntrack_key);
	__type(value, __u32);
} flush SEC(".maps");

struct sweep {
	struct conntrack_sweep *counters;
	__u32 aliases; /* that were left */
	__u64 now;
	__u32 epoch;
};

/* Judges a record that the current rules have not seen, and writes it up to them. */
static __always_inline bool still_allowed(struct conntrack_entry *place, struct conntrack_entry *record,
					  __u32 epoch)
{
	conntrack_stamp judged = conntrack_stamp_of(record);
	struct outcome outcome = {};

	if (epoch_is_judged(record->epoch, epoch))
		return true;
	if (connection_judge_again(&record->key, record, &outcome, epoch))
		return false;
	connection_confirm(place, judged, record);
	return true;
}

/*
 * Is the container that a port of the node or of a service led to still one that it leads to? A connection
 * goes on without, and so does what was opened by a port that leads nowhere now. Not inlined, for its stack.
 */
static __attribute__((noinline)) bool backend_serves(const struct conntrack_entry *record)
{
	__u8 protocol = record->key.protocol;
	struct ip_address address;
	struct frontend frontend __attribute__((aligned(8)));
	struct backend backend;
	struct party party = {};
	bool is_node;
	__be16 port;

	if (protocol != IPPROTO_UDP || !(record->flags & CONNTRACK_NAMED_RESPONDER))
		return true;
	address = record->nat_address;
	is_node = !party_of_address(&address, &party) && party.identity == IDENTITY_HOST;
	if (!frontend_find(&address, record->nat_port, protocol, is_node, &frontend))
		return true;
	if (!frontend.slots || !backend_at(record->backend, frontend.id, &backend))
		return false;
	flow_end_of(&record->key, record, FLOW_RESPONDER, &address, &port);
	return address_equal(&backend.address, &address) && backend.port == port;
}

/*
 * Has a container of this node opened it, that may still wait for what the other end says, to one that is
 * gone? It is told when it speaks next (see handle_flow() of from_container); until then it is on its
 * account.
 */
static __always_inline bool opener_is_to_be_told(const struct conntrack_entry *record)
{
	if (record->key.protocol == IPPROTO_TCP)
		return (record->flags & CONNTRACK_ESTABLISHED) && !(record->flags & CONNTRACK_FIN_OPENER) &&
		       !conntrack_closing(record);
	return record->key.protocol == IPPROTO_UDP && (record->flags & CONNTRACK_REPLIED);
}

/* May a live record stay? */
static __always_inline bool is_to_stay(struct conntrack_entry *place, struct conntrack_entry *record,
				       __u32 epoch)
{
	if (!end_is_present(record, FLOW_OPENER))
		return false;
	if (!end_is_present(record, FLOW_RESPONDER))
		return conntrack_endpoint(record, FLOW_OPENER) && opener_is_to_be_told(record);
	return backend_serves(record) && still_allowed(place, record, epoch);
}

static long sweep_one(struct bpf_map *map, const struct conntrack_key *key, struct conntrack_entry *place,
		      struct sweep *sweep)
{
	struct conntrack_sweep *counters = sweep->counters;
	struct conntrack_entry record;

	record.key = place->key;
	(void)map;
	(void)key;
	counters->scanned++;
	/* Just made, just being removed, or given to another flow: the next sweep sees what it is. */
	if (!conntrack_copy(place, &record.key, &record))
		return 0;
	if (record.expires_ns <= sweep->now) {
		conntrack_remove(place, &record.key, &record);
		counters->expired++;
	} else if (!is_to_stay(place, &record, sweep->epoch)) {
		conntrack_remove(place, &record.key, &record);
		counters->cut++;
	}
	return 0;
}

static long flush_one(struct bpf_map *map, const struct conntrack_key *key, const __u32 *nonce,
		      struct sweep *sweep)
{
	struct conntrack_sweep *counters = sweep->counters;
	struct conntrack_entry *place, record;

	(void)map;
	record.key = *key;
	counters->scanned++;
	place = bpf_map_lookup_elem(&qn_conntrack, &record.key);
	if (!place || !conntrack_copy(place, &record.key, &record) || record.nonce != *nonce)
		return 0;
	conntrack_remove(place, &record.key, &record);
	counters->cut++;
	return 0;
}

/* Removes an alias whose record is gone. One that is being made has a record, though without a nonce yet. */
static long sweep_alias(struct bpf_map *map, const struct nat_key *key, struct nat_alias *place,
			struct sweep *sweep)
{
	const struct conntrack_entry *record;
	struct nat_alias alias;
	__u32 nonce;

	alias.key = place->key;
	(void)map;
	(void)key;
	sweep->aliases++;
	if (!nat_copy(place, &alias.key, &alias))
		return 0;
	record = bpf_map_lookup_elem(&qn_conntrack, &alias.flow);
	nonce = record ? *(const volatile __u32 *)&record->nonce : ~alias.nonce;
	if (nonce && nonce != alias.nonce) {
		nat_release(place, &alias.key, alias.nonce);
		sweep->aliases--;
	}
	return 0;
}

/* A raw tracepoint program, because that kind runs on request with neither a packet nor bottom halves held
 * off. */
/* Returns how many aliases it left; negative: it could not run. */
SEC("raw_tp")
int conntrack_sweep(void *context)
{
	struct sweep sweep = {.now = bpf_ktime_get_ns(), .epoch = policy_epoch()};
	__u32 zero = 0;

	(void)context;
	sweep.counters = bpf_map_lookup_elem(&qn_sweep, &zero);
	if (!sweep.counters)
		return -1;
	sweep.counters->scanned = 0;
	sweep.counters->expired = 0;
	sweep.counters->cut = 0;
	if (bpf_for_each_map_elem(&flush, flush_one, &sweep, 0) > 0)
		return 0;
	bpf_for_each_map_elem(&qn_conntrack, sweep_one, &sweep, 0);
	bpf_for_each_map_elem(&qn_nat, sweep_alias, &sweep, 0);
	return (int)sweep.aliases;
}

char _license[] SEC("license") = "Dual MIT/GPL";
