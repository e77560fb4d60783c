import { TCP } from '../../support/packet.js';
import type { Row } from '../../support/row.js';
import type { Scenario } from '../../support/scenario.js';
import { incoming, outgoing } from '../../support/scenario-frames.js';
import { FAMILIES, type Family, UPLINK, WORLD } from '../../support/scenario-parties.js';

const B = { 4: '10.7.0.12', 6: 'fd00:7::c' } as const;

const DHCP: Record<Family, [number, number, string][]> = {
  4: [
    [68, 67, 'DHCP_FROM_CONTAINER'],
    [67, 68, 'DHCP_FROM_CONTAINER'],
    [67, 67, 'DHCP_FROM_CONTAINER'],
    [68, 68, 'DHCP_FROM_CONTAINER'],
    [40000, 67, 'DHCP_FROM_CONTAINER'],
    [67, 40000, 'DHCP_FROM_CONTAINER'],
    [40000, 68, 'PASS'],
    [546, 547, 'PASS'],
  ],
  6: [
    [546, 547, 'DHCP_FROM_CONTAINER'],
    [547, 546, 'DHCP_FROM_CONTAINER'],
    [547, 547, 'DHCP_FROM_CONTAINER'],
    [546, 546, 'DHCP_FROM_CONTAINER'],
    [40000, 547, 'DHCP_FROM_CONTAINER'],
    [547, 40000, 'DHCP_FROM_CONTAINER'],
    [40000, 546, 'PASS'],
    [68, 67, 'PASS'],
  ],
};

/** Headers of TCP, UDP and SCTP, and messages that are no business of a container's. */
export const transportRows: Row[] = FAMILIES.flatMap((family): Row[] => {
  const to = (s: Scenario) => outgoing(s.a, B[family]);
  const ip = `ip${family}`;
  return [
    ...[TCP.ACK, TCP.SYN | TCP.ACK, TCP.RST, TCP.FIN | TCP.ACK].map(
      (flags): Row => ({
        name: `${ip}-tcp_flags_${flags.toString(16)}_inbound-NO_CONNECTION`,
        from: () => UPLINK,
        frame: (s) => incoming(s.a, WORLD[family]).tcp({ flags }),
      }),
    ),
    ...[0, 1, 4].map(
      (dataOffset): Row => ({
        name: `${ip}-tcp_offset_${dataOffset}-MALFORMED_TRANSPORT`,
        frame: (s) => to(s).tcp({ dataOffset }).payload(40),
      }),
    ),
    {
      name: `${ip}-tcp_offset_beyond_packet-MALFORMED_TRANSPORT`,
      frame: (s) => to(s).tcp({ dataOffset: 6 }),
    },
    {
      name: `${ip}-tcp_offset_into_padding-MALFORMED_TRANSPORT`,
      frame: (s) => to(s).tcp({ dataOffset: 6 }).pad(4),
    },
    {
      name: `${ip}-tcp_with_options-PASS`,
      frame: (s) => to(s).tcp({ options: [2, 4, 5, 0xb4, 1, 3, 3, 7] }),
    },
    {
      name: `${ip}-tcp_19_bytes-TRUNCATED`,
      frame: (s) => outgoing(s.a, B[family], { protocol: 6 }).payload(19),
    },
    {
      name: `${ip}-tcp_none-TRUNCATED`,
      frame: (s) =>
        outgoing(s.a, B[family], { protocol: 6 })
          .payload(family === 4 ? 0 : 1)
          .pad(20),
    },
    { name: `${ip}-udp_length_0-MALFORMED_TRANSPORT`, frame: (s) => to(s).udp({ length: 0 }).payload(8) },
    { name: `${ip}-udp_length_7-MALFORMED_TRANSPORT`, frame: (s) => to(s).udp({ length: 7 }).payload(8) },
    {
      name: `${ip}-udp_length_beyond_packet-MALFORMED_TRANSPORT`,
      frame: (s) => to(s).udp({ length: 17 }).payload(8),
    },
    {
      name: `${ip}-udp_length_into_padding-MALFORMED_TRANSPORT`,
      frame: (s) => to(s).udp({ length: 17 }).payload(8).pad(8),
    },
    { name: `${ip}-udp_length_65535-MALFORMED_TRANSPORT`, frame: (s) => to(s).udp({ length: 65535 }) },
    { name: `${ip}-udp_empty-PASS`, frame: (s) => to(s).udp() },
    {
      name: `${ip}-udp_7_bytes-TRUNCATED`,
      frame: (s) => outgoing(s.a, B[family], { protocol: 17 }).payload(7),
    },
    { name: `${ip}-sctp-PASS`, frame: (s) => to(s).sctp() },
    {
      name: `${ip}-sctp_11_bytes-TRUNCATED`,
      frame: (s) => outgoing(s.a, B[family], { protocol: 132 }).payload(11),
    },
    ...DHCP[family].map(
      ([sourcePort, destinationPort, verdict]): Row => ({
        name: `${ip}-udp_from_${sourcePort}_to_${destinationPort}-${verdict}`,
        frame: (s) => to(s).udp({ sourcePort, destinationPort }).payload(240),
      }),
    ),
    {
      name: `${ip}-dhcp_port_of_tcp-PASS`,
      frame: (s) => to(s).tcp({ destinationPort: family === 4 ? 67 : 547 }),
    },
  ];
});

transportRows.push(
  {
    name: 'ip4-dhcp_discover-DHCP_FROM_CONTAINER',
    frame: (s) =>
      outgoing({ ...s.a, ip4: '0.0.0.0' }, '255.255.255.255')
        .udp({ sourcePort: 68, destinationPort: 67 })
        .payload(240),
  },
  {
    name: 'ip6-dhcp_solicit-DHCP_FROM_CONTAINER',
    frame: (s) =>
      outgoing({ ...s.a, ip6: 'fe80::ff:fe00:b' }, 'ff02::1:2')
        .udp({ sourcePort: 546, destinationPort: 547 })
        .payload(60),
  },
);

transportRows.push(
  {
    name: 'icmp6-of_the_other_family-UNKNOWN_PROTOCOL',
    frame: (s) => outgoing(s.a, 'fd00:7::c').icmp({ type: 8 }),
  },
  {
    name: 'icmp4-of_the_other_family-UNKNOWN_PROTOCOL',
    frame: (s) => outgoing(s.a, '10.7.0.12').icmpv6({ type: 128 }),
  },
  ...[130, 131, 132, 143].flatMap((type) =>
    ['fe80::ff:fe00:b', 'fd00:7::b', '::'].map(
      (ip6): Row => ({
        name: `icmp6-listener_message_${type}_from_${ip6}-ICMP_TYPE`,
        frame: (s) =>
          outgoing({ ...s.a, ip6 }, 'ff02::16', { ttl: 1 })
            .extension(0, { data: [5, 2, 0, 0, 1, 0] })
            .icmpv6({ type, body: new Uint8Array(20) }),
      }),
    ),
  ),
);
