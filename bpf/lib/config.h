/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Settings that are fixed when the programs are loaded. Each lives in .rodata, so the verifier and the JIT
 * see a constant; what may change while the programs run lives in a map instead. The sentence is carried in
 * BTF; the generator refuses a setting without one.
 */
#pragma once

#include "../abi/types.h"

#define CONFIG(type, name, value, text) const volatile type config_##name DOC(text) = value

CONFIG(__u32, tcp_established_s, 21600, "seconds an idle established TCP connection is remembered");
CONFIG(__u32, tcp_opening_s, 60, "seconds a TCP connection that is not yet established is remembered");
CONFIG(__u32, tcp_closing_s, 30, "seconds a TCP connection is remembered after FIN of both sides or RST");
CONFIG(__u32, udp_s, 60, "seconds an unanswered UDP or SCTP flow is remembered");
CONFIG(__u32, udp_replied_s, 180, "seconds an answered UDP or SCTP flow is remembered");
CONFIG(__u32, icmp_s, 30, "seconds an ICMP echo is remembered");
CONFIG(__u32, fragment_s, 15, "seconds the fragments of a datagram may follow their first one");
CONFIG(__u32, flows_per_endpoint, 32768, "connections that one endpoint may have open at once; 0: no limit");
CONFIG(__u32, inbound_new_per_second, 10000,
       "new connections from outside that one endpoint takes each second; 0: no limit");
CONFIG(__u32, inbound_new_burst, 10000, "new connections from outside that one endpoint takes at once");
CONFIG(__u32, inbound_flows, 131072, "connections from outside that may be open at once; 0: no limit");
CONFIG(__u32, events_per_second, 100, "events an endpoint may cause each second");
CONFIG(__u32, events_burst, 500, "events an endpoint may cause at once");
CONFIG(__u32, nat_port_min, 61000, "first port of the node that masqueraded flows may take");
CONFIG(__u32, nat_port_max, 65535, "last port of the node that masqueraded flows may take");
CONFIG(__u32, explain, 0, "1: judge each packet as the first of its flow and tell why, without a trace");
CONFIG(__u32, stands_in, 0,
       "1: a second copy, which stands before the other at its hook while that one moves");

/* What the numbers of lib/secret_random.h are made with; another one whenever the programs are loaded. */
const volatile __u64 random_secret[2] = {};
