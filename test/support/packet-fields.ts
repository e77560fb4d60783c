/** What can be said about each layer of a packet (see packet.ts); what is not said is as it should be. */

export const ETHERTYPE = { IPV4: 0x0800, ARP: 0x0806, VLAN: 0x8100, IPV6: 0x86dd, QINQ: 0x88a8 } as const;
export const PROTOCOL = {
  HOP_BY_HOP: 0,
  ICMP: 1,
  TCP: 6,
  UDP: 17,
  ROUTING: 43,
  FRAGMENT: 44,
  AH: 51,
  ICMPV6: 58,
  NO_NEXT: 59,
  DESTINATION: 60,
  SCTP: 132,
} as const;
export const TCP = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16, URG: 32 } as const;

export interface Ipv4Fields {
  source: string;
  destination: string;
  ttl?: number;
  id?: number;
  /** Bytes; a multiple of 8. */
  fragmentOffset?: number;
  moreFragments?: boolean;
  dontFragment?: boolean;
  options?: number[];
  protocol?: number;
  version?: number;
  /** In 32-bit words. */
  headerLength?: number;
  totalLength?: number;
  checksum?: number;
}

export interface Ipv6Fields {
  source: string;
  destination: string;
  hopLimit?: number;
  nextHeader?: number;
  payloadLength?: number;
  version?: number;
}

export interface TcpFields {
  sourcePort?: number;
  destinationPort?: number;
  flags?: number;
  sequence?: number;
  acknowledgement?: number;
  window?: number;
  /** In 32-bit words. */
  dataOffset?: number;
  options?: number[];
  checksum?: number;
}

export interface UdpFields {
  sourcePort?: number;
  destinationPort?: number;
  length?: number;
  checksum?: number;
}

export interface IcmpFields {
  type: number;
  code?: number;
  /** Echo: identifier and sequence number; an error: the four bytes after the checksum. */
  id?: number;
  sequence?: number;
  body?: Uint8Array | number[];
  checksum?: number;
}

export interface ArpFields {
  operation?: number;
  senderMac: string;
  senderIp: string;
  targetMac?: string;
  targetIp: string;
  hardwareType?: number;
  protocolType?: number;
  hardwareLength?: number;
  protocolLength?: number;
}

export interface NeighbourFields {
  target: string;
  type?: number;
  code?: number;
  flags?: number;
  options?: number[];
  checksum?: number;
}
