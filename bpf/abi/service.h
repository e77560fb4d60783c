/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Ports that lead to containers: port mappings and services. */
#pragma once

#include "types.h"

/* Key of qn_frontends: where clients connect to. */
struct frontend_key {
	struct ip_address address; /* 0.0.0.0 (mapped), ::: every address of the node of that family */
	__be16 port;
	__u8 protocol; /* IPPROTO_TCP, _UDP, _SCTP */
	__u8 pad;
};
_Static_assert(sizeof(struct frontend_key) == 20, "layout of frontend_key");

enum frontend_flags {
	FRONTEND_SERVICE_ADDRESS = 1, /* its address is the service's own, and nobody else's */
};

/*
 * Value of qn_frontends. The key stands in it as in struct endpoint: whoever finds it there under a seal that
 * is right has read one version of that key's value.
 */
struct frontend {
	struct frontend_key key;
	__u32 id;	  /* of the port mapping or service: backend.frontend_id; never reused */
	__u32 first;	  /* its part of qn_slots starts here */
	__u32 slots;	  /* and has so many; 0: it has no backend */
	__u32 affinity_s; /* a client keeps its backend for so many seconds after its last new flow; 0: no */
	__u32 flags;	  /* enum frontend_flags */
	__u8 pad[4];
	__u32 seal;
};
_Static_assert(sizeof(struct frontend) == 48, "layout of frontend");

/*
 * Value of qn_backends. The daemon writes one only while no slot leads to it, and gives its place away only
 * after every program that may have come upon it has ended; so it is never seen half written.
 */
struct backend {
	__u32 frontend_id; /* 0: none is here */
	struct ip_address address;
	__be16 port;
	__u8 pad[2];
};
_Static_assert(sizeof(struct backend) == 24, "layout of backend");

/* Key of qn_affinity. */
struct affinity_key {
	__u32 frontend_id;
	struct ip_address client;
};

/* Value of qn_affinity. */
struct affinity {
	__u64 expires_ns; /* CLOCK_MONOTONIC */
	__u32 backend;	  /* index in qn_backends; counts while it is that frontend's */
	__u32 pad;
};

/* Key of qn_node_peers: a socket of the node's own, and the backend that it talks to. */
struct node_peer_key {
	__u64 socket; /* the kernel's cookie of it, which no other one ever has */
	struct ip_address address;
	__be16 port;
	__u8 pad[6];
};

/* Value of qn_node_peers: what the socket asked for. */
struct node_peer {
	struct node_peer_key key; /* as in struct endpoint */
	struct ip_address address;
	__be16 port;
	__u8 pad[2];
	__u32 seal; /* written by the programs */
};
