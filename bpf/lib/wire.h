/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Formats on the wire that the kernel's exported headers lack, or bring with the whole C library. */
#pragma once

#include "../abi/types.h"

#define ICMP4_ECHO_REPLY	   0 /* RFC 792 */
#define ICMP4_UNREACHABLE	   3
#define ICMP4_CODE_PORT		   3
#define ICMP4_REDIRECT		   5
#define ICMP4_ECHO_REQUEST	   8
#define ICMP4_ROUTER_ADVERTISEMENT 9 /* RFC 1256 */
#define ICMP4_ROUTER_SOLICITATION  10
#define ICMP4_TIME_EXCEEDED	   11
#define ICMP4_PARAMETER_PROBLEM	   12

#define ICMP6_UNREACHABLE	      1 /* RFC 4443; 2 is packet too big, 3 time exceeded */
#define ICMP6_CODE_PORT		      4
#define ICMP6_PARAMETER_PROBLEM	      4
#define ICMP6_ECHO_REQUEST	      128
#define ICMP6_ECHO_REPLY	      129
#define ICMP6_LISTENER_QUERY	      130 /* RFC 2710; 131 is a report */
#define ICMP6_LISTENER_DONE	      132
#define ICMP6_LISTENER_REPORT_V2      143 /* RFC 3810 */
#define ICMP6_ROUTER_SOLICITATION     133 /* RFC 4861 */
#define ICMP6_ROUTER_ADVERTISEMENT    134
#define ICMP6_NEIGHBOUR_SOLICITATION  135
#define ICMP6_NEIGHBOUR_ADVERTISEMENT 136
#define ICMP6_REDIRECT		      137

/* The start of every ICMP and ICMPv6 message; the last four bytes mean this for an echo only. */
struct icmp_header {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be16 echo_id;
	__be16 echo_sequence;
};

#define SCTP_HEADER_LENGTH 12 /* RFC 9260 §3.1; begins with source and destination port */

/* RFC 8200 §4.5 */
struct ip6_fragment_header {
	__u8 next_header;
	__u8 reserved;
	__be16 offset; /* 13 bits offset in units of 8 bytes, 2 reserved, 1 more */
	__be32 id;
};

#define ARP_HARDWARE_ETHERNET 1 /* RFC 826 */
#define ARP_REQUEST	      1
#define ARP_REPLY	      2
