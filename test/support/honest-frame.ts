/**
 * Reads a frame as the receiver's stack would: just enough to say who sends it to whom, and to which port. Written
 * from the RFCs and independent of the programs, which it is there to check.
 */

export interface HonestFrame {
  kind: 'arp' | 'ip';
  sourceMac: string;
  source: string;
  destination: string;
  /** Of the transport; undefined when the frame does not show it (a later fragment, an unknown header). */
  protocol?: number;
  /** TCP, UDP, SCTP. */
  destinationPort?: number;
  /** ICMPv6, ICMP. */
  icmpType?: number;
  fragment: boolean;
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

/** Undefined: no receiver takes it for a whole frame of ARP, IPv4 or IPv6. */
export function readFrame(frame: Uint8Array): HonestFrame | undefined {
  if (frame.length < 14) return undefined;
  const sourceMac = hex(frame.subarray(6, 12));
  const body = frame.subarray(14);
  switch (word(frame, 12)) {
    case 0x0806:
      if (body.length < 28) return undefined;
      return {
        kind: 'arp',
        sourceMac,
        source: hex(body.subarray(14, 18)),
        destination: hex(body.subarray(24, 28)),
        fragment: false,
      };
    case 0x0800:
      return readIp4(body, sourceMac);
    case 0x86dd:
      return readIp6(body, sourceMac);
    default:
      return undefined;
  }
}

function readIp4(body: Uint8Array, sourceMac: string): HonestFrame | undefined {
  if (body.length < 20) return undefined;
  const header = ((body[0] ?? 0) & 15) * 4;
  const total = word(body, 2);
  if ((body[0] ?? 0) >> 4 !== 4 || header < 20 || total < header || total > body.length) return undefined;
  const field = word(body, 6);
  const frame = {
    kind: 'ip' as const,
    sourceMac,
    source: hex(body.subarray(12, 16)),
    destination: hex(body.subarray(16, 20)),
    fragment: (field & 0x3fff) !== 0,
  };
  if (field & 0x1fff) return frame;
  return { ...frame, ...readTransport(body[9] ?? 0, body.subarray(header, total)) };
}

function readIp6(body: Uint8Array, sourceMac: string): HonestFrame | undefined {
  if (body.length < 40) return undefined;
  const end = 40 + word(body, 4);
  if ((body[0] ?? 0) >> 4 !== 6 || end === 40 || end > body.length) return undefined;
  const frame = {
    kind: 'ip' as const,
    sourceMac,
    source: hex(body.subarray(8, 24)),
    destination: hex(body.subarray(24, 40)),
    fragment: false,
  };
  let next = body[6] ?? 0;
  let at = 40;
  while ([0, 43, 44, 60].includes(next)) {
    if (at + 8 > end) return undefined;
    const current = next;
    next = body[at] ?? 0;
    if (current !== 44) {
      at += ((body[at + 1] ?? 0) + 1) * 8;
      continue;
    }
    const field = word(body, at + 2);
    if (field & 0xfff9) frame.fragment = true;
    if (field & 0xfff8) return frame;
    at += 8;
  }
  if (at > end) return undefined;
  return { ...frame, ...readTransport(next, body.subarray(at, end)) };
}

/** Bytes without which there is no such header. */
const HEADER: Record<number, number> = { 1: 8, 6: 20, 17: 8, 58: 8, 132: 12 };

function readTransport(protocol: number, bytes: Uint8Array): Partial<HonestFrame> {
  const needed = HEADER[protocol];
  if (needed === undefined || bytes.length < needed) return {};
  if (protocol === 1 || protocol === 58) return { protocol, icmpType: bytes[0] ?? 0 };
  return { protocol, destinationPort: word(bytes, 2) };
}

function word(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}
