/**
 * The fast path in the uplink's driver: it makes of a frame what the longer way makes of it, byte for byte, and leaves to
 * that whatever is not plainly for it.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ConntrackFlags, EndpointFlags } from '../../src/datapath/abi/generated.js';
import { type Packet, PROTOCOL, packet, TCP } from '../support/packet.js';
import { ACTION, Programs, XDP_ACTION } from '../support/programs.js';
import { Scenario } from '../support/scenario.js';
import { addressOf, FAMILIES, type Family, NODE, WORLD } from '../support/scenario-parties.js';

const CLIENT = 40000;
const PORT = 80;
const TARGET = 8080;
const TTL = 64;
const MACS = { source: '02:aa:00:00:00:01', destination: '02:aa:00:00:00:02' };
const KINDS = ['tcp', 'udp'] as const;
type Kind = (typeof KINDS)[number];
const HEADER = { 4: 20, 6: 40 } as const;
/** Devices of tests carry so much; the transport's header is in it. */
const MTU = 1500;
const LIMITED = EndpointFlags.LIMITED_INGRESS;

let s: Scenario;
beforeAll(async () => {
  s = new Scenario(await Programs.load({ settings: { events_burst: 1_000_000 } }));
});
afterAll(() => s?.programs.close());
beforeEach(() => {
  s.reset();
  s.allowAll();
  s.masquerade(s.a, s.b, s.c);
  takesFrames(true);
});

/** Whether a's and b's side of the veth takes frames from XDP. */
function takesFrames(yes: boolean, more = 0): void {
  const flags = EndpointFlags.MASQUERADE | (yes ? EndpointFlags.TAKES_FRAMES : 0) | more;
  for (const endpoint of [s.a, s.b]) s.add({ ...endpoint, flags });
}

interface Shape {
  flags?: number;
  ttl?: number;
  bytes?: number;
  checksum?: number;
}

/** What comes from outside to a port of the node. */
function arriving(
  kind: Kind,
  family: Family,
  { from = CLIENT, to = PORT, flags = TCP.ACK, ttl = TTL, bytes = 33, checksum }: Shape & Ports = {},
): Packet {
  const base = packet().ethernet(MACS).ip({ source: WORLD[family], destination: NODE[family], ttl });
  const fields = { sourcePort: from, destinationPort: to, ...(checksum === undefined ? {} : { checksum }) };
  return (kind === 'tcp' ? base.tcp({ ...fields, flags }) : base.udp(fields)).payload(bytes);
}

interface Ports {
  from?: number;
  to?: number;
}

/** What a container says to somebody outside. */
function said(
  who: 'a' | 'b',
  kind: Kind,
  family: Family,
  { from, to, flags = TCP.ACK }: Required<Ports> & Shape,
): Packet {
  const base = packet()
    .ethernet({ source: s[who].mac, destination: s[who].gatewayMac })
    .ip({ source: addressOf(s[who], family), destination: WORLD[family] });
  const ports = { sourcePort: from, destinationPort: to };
  return kind === 'tcp' ? base.tcp({ ...ports, flags }) : base.udp(ports).payload(5);
}

/** A connection from outside to a port of the node that leads to b, with packets in both directions. */
function mapped(kind: Kind, family: Family): Ports {
  s.frontend({
    address: NODE[family],
    port: PORT,
    protocol: kind === 'tcp' ? PROTOCOL.TCP : PROTOCOL.UDP,
    backends: [{ address: addressOf(s.b, family), port: TARGET }],
  });
  expect(s.answer(arriving(kind, family, { flags: TCP.SYN }))).toMatchObject({ reason: 'NONE' });
  const reply = said('b', kind, family, { from: TARGET, to: CLIENT, flags: TCP.SYN | TCP.ACK });
  expect(s.send(s.b, reply)).toMatchObject({ reason: 'NONE' });
  expect(s.answer(arriving(kind, family))).toMatchObject({ reason: 'NONE' });
  return {};
}

/** A connection of a to somebody outside, under the node's address; the ports of what comes back. */
function masqueraded(kind: Kind, family: Family): Ports {
  const own = { from: CLIENT, to: PORT };
  expect(s.send(s.a, said('a', kind, family, { ...own, flags: TCP.SYN }))).toMatchObject({ reason: 'NONE' });
  const port = s.programs.conntrack.entries()[0]?.value.natPort ?? 0;
  const back = { from: PORT, to: port };
  const answer = arriving(kind, family, { ...back, flags: TCP.SYN | TCP.ACK });
  expect(s.answer(answer)).toMatchObject({ reason: 'NONE' });
  expect(s.send(s.a, said('a', kind, family, own))).toMatchObject({ reason: 'NONE' });
  return back;
}

const FLOWS = { 'to a port of the node': mapped, 'back to a container': masqueraded };

/** It goes on to the stack as it came, and nobody counts it. */
function expectPassed(frame: Packet): void {
  s.programs.forget();
  const left = s.programs.pass('uplink_xdp', frame, { ifindex: s.outside });
  expect(left).toEqual({ verdict: XDP_ACTION.PASS, frame: frame.bytes() });
  expect(s.programs.metrics()).toEqual([]);
}

describe.each(FAMILIES)('IPv%i', (family) => {
  describe.each(KINDS)('%s', (kind) => {
    describe.each(Object.entries(FLOWS))('%s', (_name, open) => {
      it('a frame is what the longer way makes of it', () => {
        const ports = open(kind, family);
        for (const bytes of [0, 1, 2, 33, 1000]) {
          const frame = arriving(kind, family, { ...ports, bytes, flags: TCP.ACK | TCP.PSH });
          const longer = s.answer(frame);
          const fast = s.arrive(frame);
          expect(longer).toMatchObject({ reason: 'NONE', verdict: ACTION.REDIRECT });
          expect(fast).toMatchObject({ reason: 'NONE', verdict: XDP_ACTION.REDIRECT });
          expect(fast.frame).toEqual(longer.frame);
          expect({ ...fast, verdict: 0 }).toEqual({ ...longer, verdict: 0 });
        }
      });

      it('whatever the checksum comes to', () => {
        const ports = open(kind, family);
        // Each value of one word of the payload moves the checksum by one: zero and its neighbours are among them.
        for (let at = 0; at < 0x10000; at += 251) {
          const frame = arriving(kind, family, { ...ports, bytes: 0 }).payload([at >> 8, at & 255]);
          const fast = s.programs.pass('uplink_xdp', frame, { ifindex: s.outside });
          if (fast.verdict === XDP_ACTION.PASS) continue;
          expect(fast.frame).toEqual(s.programs.pass('from_uplink', frame, { ifindex: s.outside }).frame);
        }
      });

      it('keeps the flow alive', () => {
        const ports = open(kind, family);
        const [{ key, value } = {}] = s.programs.conntrack.entries();
        if (key === undefined || value === undefined) throw new Error('no record');
        const short = value.expiresNs - 20_000_000_000n;
        s.programs.conntrack.set(key, { ...value, expiresNs: short });
        expect(s.arrive(arriving(kind, family, ports))).toMatchObject({ verdict: XDP_ACTION.REDIRECT });
        expect(s.programs.conntrack.get(key)?.expiresNs).toBeGreaterThan(short);
      });

      it('one as large as the container takes goes; one byte more is for the stack', () => {
        const ports = open(kind, family);
        const room = MTU - HEADER[family] - (kind === 'tcp' ? 20 : 8);
        const fits = arriving(kind, family, { ...ports, bytes: room });
        expect(s.arrive(fits)).toMatchObject({ verdict: XDP_ACTION.REDIRECT });
        expectPassed(arriving(kind, family, { ...ports, bytes: room + 1 }));
      });

      it('whoever is denied is denied at once, also in an open connection', () => {
        const ports = open(kind, family);
        s.denyFrom(`${WORLD[family]}/${family === 4 ? 32 : 128}`);
        const frame = arriving(kind, family, ports);
        expect(s.arrive(frame)).toMatchObject({ reason: 'DENIED_SOURCE', verdict: XDP_ACTION.DROP });
        expect(s.answer(frame)).toMatchObject({ reason: 'DENIED_SOURCE', verdict: ACTION.DROP });
      });

      it.each<[string, Shape, () => void]>([
        ['at its last hop', { ttl: 1 }, () => {}],
        ['judged by rules of before', {}, () => s.newEpoch((slot) => s.allowAll(slot))],
        ['whose time is up', {}, () => s.expireFlows()],
        [
          'of a container that is gone',
          {},
          () => {
            for (const who of [s.a, s.b]) s.remove(who);
          },
        ],
        ['of a container whose veth takes none', {}, () => takesFrames(false)],
        ['of a container with a limit of bandwidth', {}, () => takesFrames(true, LIMITED)],
        ['of a connection that is over', {}, () => mark((flags) => flags | ConntrackFlags.RESET)],
        ['not yet answered', {}, () => mark((flags) => flags & ~ConntrackFlags.REPLIED)],
        ['of a container at the other end', {}, () => mark((flags) => flags, s.c.id)],
      ])('one %s is for the stack', (_what, shape, before) => {
        const ports = open(kind, family);
        before();
        expectPassed(arriving(kind, family, { ...ports, ...shape }));
      });

      it('one whose checksum is still to be made is for the stack', () => {
        const ports = open(kind, family);
        const whole = arriving(kind, family, { ...ports, bytes: 32 });
        const pseudo = pseudoSum(whole.bytes(), family, kind);
        expectPassed(arriving(kind, family, { ...ports, bytes: 32, checksum: pseudo }));
      });

      it('one of another address of the client is for the stack', () => {
        const ports = open(kind, family);
        expectPassed(arriving(kind, family, { ...ports, from: (ports.from ?? CLIENT) + 1 }));
      });
    });
  });

  it('a UDP datagram without a checksum has none afterwards, and of IPv6 is for the stack', () => {
    mapped('udp', family);
    const frame = arriving('udp', family, { checksum: 0 });
    if (family === 6) return expectPassed(frame);
    const fast = s.arrive(frame);
    expect(fast.frame).toEqual(s.answer(frame).frame);
  });

  it.each([TCP.SYN, TCP.SYN | TCP.ACK, TCP.FIN | TCP.ACK, TCP.RST, TCP.RST | TCP.ACK, TCP.PSH, 0])(
    'TCP with flags %i is for the stack',
    (flags) => {
      mapped('tcp', family);
      expectPassed(arriving('tcp', family, { flags }));
    },
  );

  it('headers that are not plain are for the stack', () => {
    mapped('udp', family);
    const ends = { source: WORLD[family], destination: NODE[family] };
    const base = packet().ethernet(MACS);
    const ports = { sourcePort: CLIENT, destinationPort: PORT };
    const odd =
      family === 4
        ? [
            base.ipv4({ ...ends, options: [1, 1, 1, 1] }).udp(ports),
            base
              .ipv4({ ...ends, moreFragments: true })
              .udp(ports)
              .payload(8),
            base
              .ipv4({ ...ends, fragmentOffset: 8 })
              .udp(ports)
              .payload(8),
          ]
        : [
            base.ipv6(ends).extension(PROTOCOL.DESTINATION).udp(ports),
            base.ipv6(ends).fragment({ more: true }).udp(ports).payload(8),
          ];
    for (const frame of [...odd, base.vlan().ip(ends).udp(ports), base.ip(ends).udp({ ...ports, length: 7 })])
      expectPassed(frame);
  });

  it('the table does not grow under a flood of connections that no policy allows', () => {
    mapped('tcp', family);
    s.isolate(s.b, 'ingress');
    s.newEpoch(() => {});
    const before = s.programs.conntrack.entries().length;
    for (let port = 1; port <= 2000; port++) {
      const frame = arriving('tcp', family, { from: port, flags: TCP.SYN, bytes: 0 });
      s.programs.pass('uplink_xdp', frame, { ifindex: s.outside });
      s.programs.pass('from_uplink', frame, { ifindex: s.outside });
    }
    expect(s.programs.conntrack.entries().length).toBe(before);
    expect(s.programs.nat.entries().length).toBe(before);
    const refused = s.programs.metrics().filter(({ reason }) => reason.startsWith('POLICY_'));
    expect(refused).toMatchObject([{ endpointId: s.b.id, packets: 2000 }]);
  });
});

it('ARP, and what is no frame of IP, is for the stack', () => {
  const base = packet().ethernet(MACS);
  expectPassed(base.arp({ senderMac: MACS.source, senderIp: WORLD[4], targetIp: NODE[4] }));
  expectPassed(
    packet()
      .ethernet({ ...MACS, type: 0x88cc })
      .payload(20),
  );
});

it.each(['0.0.0.0', '240.0.0.1', '0.1.2.3', NODE[4], '10.7.0.1', 'fe80::1', '::', NODE[6]])(
  'what comes from %s is for the stack to judge',
  (source) => {
    const destination = source.includes(':') ? NODE[6] : NODE[4];
    const frame = packet().ethernet(MACS).ip({ source, destination }).udp().payload(4);
    expectPassed(frame);
    s.programs.forget();
    expect(s.programs.pass('from_uplink', frame, { ifindex: s.outside })).toMatchObject({
      verdict: ACTION.PASS,
    });
    expect(s.programs.metrics()).toEqual([]);
  },
);

/** Changes the flags of the one record, or who stands at its outer end. */
function mark(change: (flags: number) => number, other = 0): void {
  for (const { key, value } of s.programs.conntrack.entries()) {
    const endpointId = value.endpointId.map((id) => (id === 0 ? other : id)) as [number, number];
    s.programs.conntrack.set(key, { ...value, endpointId, flags: change(value.flags) });
  }
}

/** What a sender leaves in the place of a checksum that the card is to make. */
function pseudoSum(frame: Uint8Array, family: Family, kind: Kind): number {
  const addresses = family === 4 ? frame.subarray(26, 34) : frame.subarray(22, 54);
  const length = frame.length - 14 - HEADER[family];
  let sum = length + (kind === 'tcp' ? PROTOCOL.TCP : PROTOCOL.UDP);
  for (let at = 0; at < addresses.length; at += 2)
    sum += ((addresses[at] ?? 0) << 8) | (addresses[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}
