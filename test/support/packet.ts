/**
 * Builds frames layer by layer: `packet().ethernet(…).ipv4(…).tcp(…).payload(10).bytes()`.
 *
 * Lengths, checksums and "next protocol" fields are right unless a layer's fields say otherwise, so that a test
 * shows only what it makes wrong. Packets are immutable: each call returns a new one, and a table can derive
 * its rows from one base.
 */
import {
  addressBytes,
  be16,
  be32,
  checksum,
  concat,
  crc32c,
  type IpContext,
  macBytes,
  sealed,
  transportChecksum,
} from './packet-bytes.js';
import {
  type ArpFields,
  ETHERTYPE,
  type IcmpFields,
  type Ipv4Fields,
  type Ipv6Fields,
  type NeighbourFields,
  PROTOCOL,
  TCP,
  type TcpFields,
  type UdpFields,
} from './packet-fields.js';
import { arpMessage, ipv4Header } from './packet-headers.js';

export { addressBytes, checksum, concat, macBytes, mappedAddress } from './packet-bytes.js';
export { ETHERTYPE, PROTOCOL, TCP } from './packet-fields.js';

interface Layer {
  /** Number under which an IP header announces this layer. */
  readonly protocol?: number;
  readonly ethertype?: number;
  readonly ip?: IpContext;
  build(rest: Uint8Array, next: Layer | undefined, ip: IpContext | undefined): Uint8Array;
}

/** The option that carries a link-layer address (RFC 4861 §4.6.1): 1 is the source's, 2 the target's. */
export function linkLayerOption(type: 1 | 2, mac: string): number[] {
  return [type, 1, ...macBytes(mac)];
}

const TCP_DEFAULTS = { sourcePort: 40000, destinationPort: 80, flags: TCP.SYN };
const UDP_DEFAULTS = { sourcePort: 40000, destinationPort: 53 };

export class Packet {
  readonly #layers: readonly Layer[];
  readonly #edits: readonly ((bytes: Uint8Array) => Uint8Array)[];

  constructor(layers: readonly Layer[] = [], edits: readonly ((bytes: Uint8Array) => Uint8Array)[] = []) {
    this.#layers = layers;
    this.#edits = edits;
  }

  ethernet(fields: { source: string; destination: string; type?: number }): Packet {
    return this.#add({
      build: (rest, next) =>
        concat(
          macBytes(fields.destination),
          macBytes(fields.source),
          be16(etherType(next, fields.type)),
          rest,
        ),
    });
  }

  /** An 802.1Q (or 802.1ad) tag inside the frame. */
  vlan(fields: { id?: number; tag?: number; type?: number } = {}): Packet {
    return this.#add({
      ethertype: fields.tag ?? ETHERTYPE.VLAN,
      build: (rest, next) => concat(be16(fields.id ?? 1), be16(etherType(next, fields.type)), rest),
    });
  }

  arp(fields: ArpFields): Packet {
    return this.#add({
      ethertype: ETHERTYPE.ARP,
      build: (rest) => concat(arpMessage(fields), rest),
    });
  }

  ipv4(fields: Ipv4Fields): Packet {
    const ip = { family: 4 as const, ...endsOf(fields) };
    return this.#add({
      ethertype: ETHERTYPE.IPV4,
      protocol: 4,
      ip,
      build: (rest, next) => concat(ipv4Header(fields, rest.length, next?.protocol), rest),
    });
  }

  ipv6(fields: Ipv6Fields): Packet {
    const ip = { family: 6 as const, ...endsOf(fields) };
    return this.#add({
      ethertype: ETHERTYPE.IPV6,
      protocol: 41,
      ip,
      build: (rest, next) =>
        concat(
          [(fields.version ?? 6) << 4, 0, 0, 0],
          be16(fields.payloadLength ?? rest.length),
          [fields.nextHeader ?? next?.protocol ?? PROTOCOL.NO_NEXT, fields.hopLimit ?? 64],
          ip.source,
          ip.destination,
          rest,
        ),
    });
  }

  /** A network header of either family with what both have. */
  ip(fields: { source: string; destination: string; ttl?: number; protocol?: number }): Packet {
    const { source, destination, ttl = 64, protocol } = fields;
    if (!source.includes(':')) {
      return this.ipv4({ source, destination, ttl, ...(protocol === undefined ? {} : { protocol }) });
    }
    const nextHeader = protocol === undefined ? {} : { nextHeader: protocol };
    return this.ipv6({ source, destination, hopLimit: ttl, ...nextHeader });
  }

  /** An IPv6 extension header of the options or routing form: 8 bytes and `units` times 8 more. */
  extension(protocol: number, fields: { units?: number; next?: number; data?: number[] } = {}): Packet {
    const units = fields.units ?? 0;
    return this.#add({
      protocol,
      build: (rest, next) => {
        const body = new Uint8Array(6 + units * 8);
        body.set(fields.data ?? [1, body.length - 2]); // PadN
        return concat([fields.next ?? next?.protocol ?? PROTOCOL.NO_NEXT, units], body, rest);
      },
    });
  }

  /** An IPv6 fragment header; offset in bytes. */
  fragment(fields: { offset?: number; more?: boolean; id?: number; next?: number }): Packet {
    return this.#add({
      protocol: PROTOCOL.FRAGMENT,
      build: (rest, next) =>
        concat(
          [fields.next ?? next?.protocol ?? PROTOCOL.NO_NEXT, 0],
          be16((fields.offset ?? 0) | (fields.more ? 1 : 0)),
          be32(fields.id ?? 0),
          rest,
        ),
    });
  }

  tcp(fields: TcpFields = {}): Packet {
    const { sourcePort, destinationPort, flags } = { ...TCP_DEFAULTS, ...fields };
    const options = fields.options ?? [];
    return this.#add({
      protocol: PROTOCOL.TCP,
      build: (rest, _next, ip) => {
        const segment = concat(
          be16(sourcePort),
          be16(destinationPort),
          be32(fields.sequence ?? 1),
          be32(fields.acknowledgement ?? 0),
          [(fields.dataOffset ?? 5 + Math.ceil(options.length / 4)) << 4, flags],
          be16(fields.window ?? 0xffff),
          [0, 0, 0, 0],
          options,
          new Uint8Array((4 - (options.length % 4)) % 4),
          rest,
        );
        return sealed(segment, 16, () => transportChecksum(ip, PROTOCOL.TCP, segment), fields.checksum);
      },
    });
  }

  udp(fields: UdpFields = {}): Packet {
    const { sourcePort, destinationPort } = { ...UDP_DEFAULTS, ...fields };
    return this.#add({
      protocol: PROTOCOL.UDP,
      build: (rest, _next, ip) => {
        const length = be16(fields.length ?? 8 + rest.length);
        const segment = concat(be16(sourcePort), be16(destinationPort), length, [0, 0], rest);
        return sealed(
          segment,
          6,
          () => transportChecksum(ip, PROTOCOL.UDP, segment) || 0xffff,
          fields.checksum,
        );
      },
    });
  }

  /** Common header (RFC 9260 §3.1) and an INIT chunk's first bytes. Its CRC32c is left zero: nobody looks. */
  sctp(fields: { sourcePort?: number; destinationPort?: number } = {}): Packet {
    const { sourcePort, destinationPort } = { ...UDP_DEFAULTS, ...fields };
    return this.#add({
      protocol: PROTOCOL.SCTP,
      build: (rest) => {
        const ports = [...be16(sourcePort), ...be16(destinationPort)];
        const body = concat([1, 0, 0, 20], new Uint8Array(16), rest);
        const bytes = concat(ports, be32(0), be32(0), body);
        bytes.set(crc32c(bytes), 8);
        return bytes;
      },
    });
  }

  icmp(fields: IcmpFields): Packet {
    return this.#icmp(PROTOCOL.ICMP, fields);
  }

  icmpv6(fields: IcmpFields): Packet {
    return this.#icmp(PROTOCOL.ICMPV6, fields);
  }

  /** Neighbour discovery; a solicitation unless `type` says otherwise. */
  neighbour(fields: NeighbourFields): Packet {
    const body = concat(addressBytes(fields.target), fields.options ?? []);
    return this.icmpv6({
      type: fields.type ?? 135,
      code: fields.code ?? 0,
      id: (fields.flags ?? 0) << 8,
      body,
      ...(fields.checksum === undefined ? {} : { checksum: fields.checksum }),
    });
  }

  /** A number stands for that many bytes that repeat 00, 01, 02… */
  payload(content: number | Uint8Array | number[]): Packet {
    const bytes =
      typeof content === 'number'
        ? Uint8Array.from({ length: content }, (_, at) => at)
        : Uint8Array.from(content);
    return this.#add({ build: (rest) => concat(bytes, rest) });
  }

  /** Applied to the finished frame, in the order of the calls; checksums are not made again. */
  edit(change: (bytes: Uint8Array) => Uint8Array): Packet {
    return new Packet(this.#layers, [...this.#edits, change]);
  }

  setByte(at: number, value: number): Packet {
    return this.edit((bytes) => bytes.map((byte, index) => (index === at ? value : byte)));
  }

  /** Keeps the first `length` bytes. */
  truncate(length: number): Packet {
    return this.edit((bytes) => bytes.slice(0, length));
  }

  /** Appends bytes behind what the headers claim, as Ethernet padding does. */
  pad(length: number): Packet {
    return this.edit((bytes) => concat(bytes, new Uint8Array(length)));
  }

  bytes(): Uint8Array {
    let rest: Uint8Array = new Uint8Array();
    for (let at = this.#layers.length - 1; at >= 0; at--) {
      const ip = this.#layers.slice(0, at).findLast((layer) => layer.ip)?.ip;
      rest = this.#layers[at]?.build(rest, this.#layers[at + 1], ip) ?? rest;
    }
    return this.#edits.reduce((bytes, change) => change(bytes), rest);
  }

  #icmp(protocol: number, fields: IcmpFields): Packet {
    return this.#add({
      protocol,
      build: (rest, _next, ip) => {
        const head = [fields.type, fields.code ?? 0, 0, 0];
        const words = [...be16(fields.id ?? 0), ...be16(fields.sequence ?? 0)];
        const message = concat(head, words, fields.body ?? [], rest);
        const compute = () =>
          protocol === PROTOCOL.ICMP ? checksum(message) : transportChecksum(ip, protocol, message);
        return sealed(message, 2, compute, fields.checksum);
      },
    });
  }

  #add(layer: Layer): Packet {
    return new Packet([...this.#layers, layer], this.#edits);
  }
}

export function packet(): Packet {
  return new Packet();
}

function endsOf(fields: { source: string; destination: string }) {
  return { source: addressBytes(fields.source), destination: addressBytes(fields.destination) };
}

function etherType(next: Layer | undefined, fixed: number | undefined): number {
  return fixed ?? next?.ethertype ?? 0x88b5; // IEEE 802 local experimental
}
