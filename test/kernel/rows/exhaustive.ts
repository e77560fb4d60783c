/** Every value of one byte. So many that they are run in one go, with nothing between them but an empty flow table. */
import { type Packet, TCP } from '../../support/packet.js';
import type { Row } from '../../support/row.js';
import { incoming, outgoing } from '../../support/scenario-frames.js';
import { FAMILIES, type Family, NODE } from '../../support/scenario-parties.js';

const B = { 4: '10.7.0.12', 6: 'fd00:7::c' } as const;
const VALUES = Array.from({ length: 256 }, (_, value) => value);

/** RFC 9293 knows no state for the others; only a SYN alone opens. */
function verdictOfFlags(flags: number): string {
  const syn = (flags & TCP.SYN) !== 0;
  if (!(flags & (TCP.SYN | TCP.ACK | TCP.RST))) return 'MALFORMED_TRANSPORT';
  if (syn && flags & (TCP.FIN | TCP.RST)) return 'MALFORMED_TRANSPORT';
  return syn && !(flags & TCP.ACK) ? 'PASS' : 'NO_CONNECTION';
}

/** What becomes of a message of each type without any flow. */
function verdictOfType(family: Family, type: number, inbound: boolean): string {
  if (type === (family === 4 ? 8 : 128)) return 'PASS';
  if (type === (family === 4 ? 0 : 129)) return 'NO_CONNECTION';
  if (family === 4 ? [3, 11, 12].includes(type) : type >= 1 && type <= 4) return 'ICMP_UNRELATED';
  if (inbound) return 'ICMP_TYPE';
  if (family === 4 && [5, 9, 10].includes(type)) return 'ROUTER_ADVERTISEMENT';
  if (family === 6 && [133, 134, 137].includes(type)) return 'ROUTER_ADVERTISEMENT';
  // Not a message of neighbour discovery at all: from a router, by its hop limit.
  if (family === 6 && [135, 136].includes(type)) return 'ND_REJECTED';
  return 'ICMP_TYPE';
}

const message = (base: Packet, family: Family, type: number) => {
  const body = new Uint8Array(40);
  return family === 4 ? base.icmp({ type, id: 3, body }) : base.icmpv6({ type, id: 3, body });
};

export const exhaustiveRows: Record<string, Row[]> = Object.fromEntries(
  FAMILIES.flatMap((family): [string, Row[]][] => [
    [
      `TCP flags over IPv${family}`,
      VALUES.map((flags) => ({
        name: `ip${family}-tcp_flags_${flags.toString(16).padStart(2, '0')}-${verdictOfFlags(flags)}`,
        frame: (s) => outgoing(s.a, B[family]).tcp({ flags }),
      })),
    ],
    [
      `types of ICMP over IPv${family}`,
      VALUES.map((type) => ({
        name: `icmp${family}-type_${type}-${verdictOfType(family, type, false)}`,
        frame: (s) => message(outgoing(s.a, B[family]), family, type),
      })),
    ],
    [
      `types of ICMP over IPv${family}, inbound`,
      VALUES.map((type) => ({
        name: `icmp${family}-type_${type}_inbound-${verdictOfType(family, type, true)}`,
        from: () => 0,
        frame: (s) => message(incoming(s.a, NODE[family]), family, type),
      })),
    ],
  ]),
);
