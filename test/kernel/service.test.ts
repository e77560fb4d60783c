/**
 * Ports that lead to containers, each frame as a whole, so that every checksum is proved: what a client sends to the
 * port reaches the container under its own address, and what the container says comes from the port.
 */
import { spawn } from 'node:child_process';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { ConntrackFlags, type NatAlias } from '../../src/datapath/abi/generated.js';
import { Rtnl } from '../../src/native/net.js';
import { mappedAddress, type Packet, PROTOCOL, packet, TCP } from '../support/packet.js';
import { ACTION, DEVICE_MAC, Programs, skBuff } from '../support/programs.js';
import {
  addressOf,
  FAMILIES,
  type Family,
  GATEWAY,
  NETWORK,
  NOBODY,
  NODE,
  Scenario,
  SERVICE,
  type TestEndpoint,
  WORLD,
  WORLD_ROUTER,
} from '../support/scenario.js';
import { trafficProgram } from '../support/traffic.js';
import { quoted, unreachable } from './rows/icmp.js';

const CLIENT_PORT = 40000;
const PORT = 80;
const TARGET = 8080;
const TTL = 64;
/** Every address of the node. */
const EVERY = { 4: '0.0.0.0', 6: '::' } as const;
const OUTSIDE_MACS = { source: '02:aa:00:00:00:01', destination: DEVICE_MAC };
const KINDS = ['tcp', 'udp', 'sctp'] as const;
type Kind = (typeof KINDS)[number];

let s: Scenario;
beforeAll(async () => {
  s = new Scenario(await Programs.load({ settings: { events_burst: 1_000_000 } }));
});
afterAll(() => s?.programs.close());
beforeEach(() => {
  s.reset();
  s.allowAll();
  s.masquerade(s.a, s.b, s.c);
});

const protocolOf = (kind: Kind) => ({ tcp: PROTOCOL.TCP, udp: PROTOCOL.UDP, sctp: PROTOCOL.SCTP })[kind];

/** One end of a connection: a container, or somebody outside. */
type End = TestEndpoint | 'outside';

const isOutside = (end: End): end is 'outside' => end === 'outside';
const ownAddress = (end: End, family: Family) => (isOutside(end) ? WORLD[family] : addressOf(end, family));

interface Segment {
  kind: Kind;
  source: [string, number];
  destination: [string, number];
  flags?: number;
}

function transport(base: Packet, { kind, source, destination, flags = TCP.SYN }: Segment): Packet {
  const ports = { sourcePort: source[1], destinationPort: destination[1] };
  if (kind === 'tcp') return base.tcp({ ...ports, flags }).payload(9);
  return kind === 'udp' ? base.udp(ports).payload(21) : base.sctp(ports).payload(701);
}

/** As it leaves an end, or as it comes in by the uplink. */
function sentBy(end: End, segment: Segment, ttl = TTL): Packet {
  const macs = isOutside(end) ? OUTSIDE_MACS : { source: end.mac, destination: end.gatewayMac };
  const ip = { source: segment.source[0], destination: segment.destination[0], ttl };
  return transport(packet().ethernet(macs).ip(ip), segment);
}

/** As a container gets it. */
function handedTo(end: TestEndpoint, segment: Segment, ttl = TTL): Packet {
  const ip = { source: segment.source[0], destination: segment.destination[0], ttl };
  return transport(packet().ethernet({ source: end.gatewayMac, destination: end.mac }).ip(ip), segment);
}

/** Runs what an end sends, through the program that stands in its way. */
const pass = (end: End, frame: Packet) => (isOutside(end) ? s.answer(frame) : s.send(end, frame));

function aliases(): NatAlias[] {
  return s.programs.nat.entries().map(({ value }) => value);
}

/** Every record that is translated has its alias, and there is no other. */
function expectWhole(flows: number): void {
  const records = s.programs.conntrack.entries().filter(({ value }) => value.natPort !== 0);
  expect(records.map(({ value }) => value.nonce).sort()).toEqual(
    aliases()
      .map(({ nonce }) => nonce)
      .sort(),
  );
  expect(records).toHaveLength(flows);
}

/** A packet that is the node's own: it passes as it is, and nobody counts it. */
function expectUntouched(frame: Packet): void {
  s.programs.forget();
  const left = s.programs.pass('from_uplink', frame, { ifindex: s.outside });
  expect(left).toEqual({ verdict: ACTION.PASS, frame: frame.bytes() });
  expect(s.programs.metrics()).toEqual([]);
}

interface Case {
  name: string;
  client: () => End;
  /** What the client connects to. */
  asked: (family: Family) => string;
  listed: (family: Family) => string;
  server: () => TestEndpoint;
}

const CASES: Case[] = [
  {
    name: 'from a container to a service of its network',
    client: () => s.a,
    asked: (family) => SERVICE[family],
    listed: (family) => SERVICE[family],
    server: () => s.b,
  },
  {
    name: 'from a container to a service of another network',
    client: () => s.a,
    asked: (family) => SERVICE[family],
    listed: (family) => SERVICE[family],
    server: () => s.c,
  },
  {
    name: "from a container to a port of the node's address",
    client: () => s.a,
    asked: (family) => NODE[family],
    listed: (family) => NODE[family],
    server: () => s.b,
  },
  {
    name: 'from a container to a port of every address of the node',
    client: () => s.a,
    asked: (family) => GATEWAY[family],
    listed: (family) => EVERY[family],
    server: () => s.c,
  },
  {
    name: 'from outside to a port of the node',
    client: () => 'outside',
    asked: (family) => NODE[family],
    listed: (family) => EVERY[family],
    server: () => s.b,
  },
];

describe.each(FAMILIES)('IPv%i', (family) => {
  describe.each(KINDS)('%s', (kind) => {
    const protocol = protocolOf(kind);
    const serve = (server: TestEndpoint, address: string = SERVICE[family], port = PORT) =>
      s.frontend({
        address,
        port,
        protocol,
        backends: [{ address: addressOf(server, family), port: TARGET }],
      });

    describe.each(CASES)('$name', ({ client, asked, listed, server }) => {
      /** What the client says, and what it hears, by its own names and by the container's. */
      const names = (port = CLIENT_PORT) => {
        const own: [string, number] = [ownAddress(client(), family), port];
        const front: [string, number] = [asked(family), PORT];
        const back: [string, number] = [addressOf(server(), family), TARGET];
        return { own, front, back };
      };
      const request = (port?: number, flags?: number): Segment => {
        const { own, front } = names(port);
        return { kind, source: own, destination: front, ...(flags === undefined ? {} : { flags }) };
      };
      const delivered = (port?: number, flags?: number): Segment => {
        const { own, back } = names(port);
        return { kind, source: own, destination: back, ...(flags === undefined ? {} : { flags }) };
      };
      const reply = (flags = TCP.SYN | TCP.ACK): Segment => {
        const { own, back } = names();
        return { kind, source: back, destination: own, flags };
      };
      const heard = (flags = TCP.SYN | TCP.ACK): Segment => {
        const { own, front } = names();
        return { kind, source: front, destination: own, flags };
      };
      /** One hop more for what crosses the uplink. */
      const hop = () => (isOutside(client()) ? TTL - 1 : TTL);

      beforeEach(() => serve(server(), listed(family)));

      it('reaches the container, and the answer comes from the port', () => {
        const there = pass(client(), sentBy(client(), request()));
        expect(there).toMatchObject({ reason: 'NONE', verdict: ACTION.REDIRECT });
        expect(there.frame).toEqual(handedTo(server(), delivered(), hop()).bytes());
        expectWhole(1);

        const back = s.send(server(), sentBy(server(), reply()));
        expect(back).toMatchObject({ reason: 'NONE', verdict: ACTION.REDIRECT });
        const end = client();
        const expected = isOutside(end)
          ? sentBy(server(), heard(), hop()) // MAC addresses are the kernel's to change
          : handedTo(end, heard());
        expect(back.frame).toEqual(expected.bytes());

        const more = pass(client(), sentBy(client(), request(CLIENT_PORT, TCP.ACK)));
        expect(more.frame).toEqual(handedTo(server(), delivered(CLIENT_PORT, TCP.ACK), hop()).bytes());
        expectWhole(1);
      });

      it('is judged as a connection to the container', () => {
        s.newEpoch((slot) => {
          for (const subject of [s.a, s.b, s.c]) s.rule({ subject, direction: 'egress' }, slot);
          s.rule({ subject: server(), direction: 'ingress', protocol, port: PORT }, slot);
        });
        expect(pass(client(), sentBy(client(), request())).reason).toBe('POLICY_INGRESS');
        expectWhole(0);
        s.newEpoch((slot) => {
          for (const subject of [s.a, s.b, s.c]) s.rule({ subject, direction: 'egress' }, slot);
          s.rule({ subject: server(), direction: 'ingress', protocol, port: TARGET }, slot);
        });
        expect(pass(client(), sentBy(client(), request())).reason).toBe('NONE');
        expectWhole(1);
      });

      it('is cut when the policy changes, with its alias, and may come again', () => {
        pass(client(), sentBy(client(), request()));
        s.newEpoch(() => {});
        const left = s.send(server(), sentBy(server(), reply()));
        expect(left.reason).toBe('CONNECTION_CUT');
        expectWhole(0);
        s.newEpoch((slot) => s.allowAll(slot));
        expect(pass(client(), sentBy(client(), request())).reason).toBe('NONE');
        expectWhole(1);
      });

      it('keeps its container when the port leads to another, which the next client gets', () => {
        pass(client(), sentBy(client(), request()));
        const other = server() === s.b ? s.c : s.b;
        serve(other, listed(family));
        const same = pass(client(), sentBy(client(), request(CLIENT_PORT, TCP.ACK)));
        expect(same.frame).toEqual(handedTo(server(), delivered(CLIENT_PORT, TCP.ACK), hop()).bytes());
        const next = pass(client(), sentBy(client(), request(CLIENT_PORT + 1)));
        const back: [string, number] = [addressOf(other, family), TARGET];
        expect(next.frame).toEqual(
          handedTo(other, { ...delivered(CLIENT_PORT + 1), destination: back }, hop()).bytes(),
        );
        expectWhole(2);
      });

      it('an error of the container about it comes from the port, and quotes what the client sent', () => {
        pass(client(), sentBy(client(), request()));
        const base = (segment: Segment, end: End, ttl?: number) => {
          const frame = sentBy(end, segment, ttl);
          return quoted(frame);
        };
        const macs = { source: server().mac, destination: server().gatewayMac };
        const { own, front, back } = names();
        const error = unreachable(
          packet().ethernet(macs).ip({ source: back[0], destination: own[0], ttl: TTL }),
          family,
          base(delivered(), client(), hop()),
        );
        const out = s.send(server(), error);
        expect(out).toMatchObject({ reason: 'NONE', verdict: ACTION.REDIRECT });
        const end = client();
        const told = isOutside(end) ? macs : { source: end.gatewayMac, destination: end.mac };
        expect(out.frame).toEqual(
          unreachable(
            packet().ethernet(told).ip({ source: front[0], destination: own[0], ttl: hop() }),
            family,
            base(request(), client(), hop()),
          ).bytes(),
        );
      });

      it('an error of the client about an answer reaches the container, and quotes what it sent', () => {
        pass(client(), sentBy(client(), request()));
        s.send(server(), sentBy(server(), reply()));
        const end = client();
        const macs = isOutside(end) ? OUTSIDE_MACS : { source: end.mac, destination: end.gatewayMac };
        const { own, front, back } = names();
        const error = unreachable(
          packet().ethernet(macs).ip({ source: own[0], destination: front[0], ttl: TTL }),
          family,
          quoted(sentBy(server(), heard())),
        );
        const there = pass(end, error);
        expect(there).toMatchObject({ reason: 'NONE', verdict: ACTION.REDIRECT });
        expect(there.frame).toEqual(
          unreachable(
            packet()
              .ethernet({ source: server().gatewayMac, destination: server().mac })
              .ip({ source: own[0], destination: back[0], ttl: hop() }),
            family,
            quoted(sentBy(server(), reply())),
          ).bytes(),
        );
      });

      it('a container that is gone is served by the next one, without what the first one left', () => {
        pass(client(), sentBy(client(), request()));
        s.remove(server());
        const other = server() === s.b ? s.c : s.b;
        serve(other, listed(family));
        const again = pass(client(), sentBy(client(), request()));
        const back: [string, number] = [addressOf(other, family), TARGET];
        expect(again.frame).toEqual(handedTo(other, { ...delivered(), destination: back }, hop()).bytes());
        expectWhole(1);
      });

      it('a connection that has ended makes room for the next one of its ports', () => {
        pass(client(), sentBy(client(), request()));
        if (kind === 'tcp') pass(client(), sentBy(client(), request(CLIENT_PORT, TCP.RST)));
        else s.expireFlows();
        const again = pass(client(), sentBy(client(), request()));
        expect(again.frame).toEqual(handedTo(server(), delivered(), hop()).bytes());
        expectWhole(1);
      });

      it('goes on without its port mapping, and takes its alias with it when it ends', () => {
        pass(client(), sentBy(client(), request()));
        s.programs.frontends.clear();
        expect(s.send(server(), sentBy(server(), reply())).reason).toBe('NONE');
        expect(pass(client(), sentBy(client(), request(CLIENT_PORT, TCP.ACK))).reason).toBe('NONE');
        s.expireFlows();
        s.programs.sweep();
        expect([s.programs.conntrack.entries(), aliases()]).toEqual([[], []]);
      });
    });

    it('what the client says to the container itself by the same ports is another connection, and is refused', () => {
      serve(s.b);
      const own: [string, number] = [addressOf(s.a, family), CLIENT_PORT];
      const back: [string, number] = [addressOf(s.b, family), TARGET];
      s.send(s.a, sentBy(s.a, { kind, source: own, destination: [SERVICE[family], PORT] }));
      const direct = sentBy(s.a, { kind, source: own, destination: back });
      expect(s.send(s.a, direct).reason).toBe('NAT_CONFLICT');
      expectWhole(1);

      s.programs.conntrack.clear();
      s.programs.sweep();
      expect(s.send(s.a, direct).reason).toBe('NONE');
      const named = sentBy(s.a, { kind, source: own, destination: [SERVICE[family], PORT] });
      expect(s.send(s.a, named).reason).toBe('NAT_CONFLICT');
      expectWhole(0);
    });

    it.each([
      ['a service', SERVICE[family], SERVICE[family]],
      ["the node's address", NODE[family], EVERY[family]],
      ['the gateway', GATEWAY[family], EVERY[family]],
    ])(
      'nobody outside speaks or complains in place of a container that talks to %s',
      (_name, asked, listed) => {
        for (const server of [s.a, s.b]) {
          serve(server, listed);
          const own: [string, number] = [addressOf(s.a, family), CLIENT_PORT];
          const front: [string, number] = [asked, PORT];
          expect(s.send(s.a, sentBy(s.a, { kind, source: own, destination: front })).reason).toBe('NONE');
          s.programs.frontends.clear();
          const forged = sentBy('outside', { kind, source: own, destination: front, flags: TCP.ACK });
          expect(s.answer(forged).reason).toBe('BAD_SOURCE');
          const router = { source: WORLD_ROUTER[family], destination: asked };
          const heard = quoted(sentBy(server, { kind, source: front, destination: own, flags: TCP.ACK }));
          expectUntouched(unreachable(packet().ethernet(OUTSIDE_MACS).ip(router), family, heard));
          s.programs.conntrack.clear();
          s.programs.sweep();
        }
      },
    );

    it.each([
      ['a service', SERVICE[family], SERVICE[family]],
      ["the node's address", NODE[family], EVERY[family]],
      ['the gateway', GATEWAY[family], EVERY[family]],
    ])('a container reaches itself by %s, whatever the policy says of it', (_name, asked, listed) => {
      s.newEpoch(() => {});
      serve(s.a, listed);
      const own: [string, number] = [addressOf(s.a, family), CLIENT_PORT];
      const front: [string, number] = [asked, PORT];
      const back: [string, number] = [addressOf(s.a, family), TARGET];
      const caller: [string, number] = [asked, CLIENT_PORT];
      const there = s.send(s.a, sentBy(s.a, { kind, source: own, destination: front }));
      expect(there).toMatchObject({ reason: 'NONE', verdict: ACTION.REDIRECT });
      expect(there.frame).toEqual(handedTo(s.a, { kind, source: caller, destination: back }).bytes());
      const [record] = s.programs.conntrack.entries();
      expect((record?.value.flags ?? 0) & ConntrackFlags.SELF).toBe(ConntrackFlags.SELF);

      const flags = TCP.SYN | TCP.ACK;
      const answer = s.send(s.a, sentBy(s.a, { kind, source: back, destination: caller, flags }));
      expect(answer.frame).toEqual(handedTo(s.a, { kind, source: front, destination: own, flags }).bytes());
      const more = s.send(s.a, sentBy(s.a, { kind, source: own, destination: front, flags: TCP.ACK }));
      expect(more.frame).toEqual(
        handedTo(s.a, { kind, source: caller, destination: back, flags: TCP.ACK }).bytes(),
      );
      s.newEpoch(() => {});
      expect(s.send(s.a, sentBy(s.a, { kind, source: back, destination: caller, flags })).reason).toBe(
        'NONE',
      );
      expectWhole(1);
    });

    it.each([
      ['has ended', () => {}],
      ['has a container that is gone', () => s.remove(s.b)],
    ])(
      "without its port mapping a port is the node's, also to a client whose connection %s",
      (_name, change) => {
        serve(s.b, EVERY[family]);
        const own: [string, number] = [addressOf(s.a, family), CLIENT_PORT];
        const front: [string, number] = [NODE[family], PORT];
        const request = sentBy(s.a, { kind, source: own, destination: front });
        s.send(s.a, request);
        if (kind === 'tcp')
          s.send(s.a, sentBy(s.a, { kind, source: own, destination: front, flags: TCP.RST }));
        else s.expireFlows();
        change();
        s.programs.frontends.clear();
        expect(s.send(s.a, request)).toMatchObject({ reason: 'NONE', verdict: ACTION.PASS });
        const answer = handedTo(s.a, { kind, source: front, destination: own, flags: TCP.SYN | TCP.ACK });
        expect(s.receive(s.a, answer).reason).toBe('NONE');
        const mine = s.programs.conntrack.entries().filter(({ value }) => value.natPort === 0);
        expect(mine).toHaveLength(1);
      },
    );

    it('nobody who serves, and no port at all: the client is told by the gateway, and nothing is kept', () => {
      serve(s.b);
      s.frontend({ address: SERVICE[family], port: PORT + 1, protocol, backends: [] });
      for (const [port, reason] of [
        [PORT + 1, 'NO_BACKEND'],
        [PORT + 2, 'NO_SERVICE'],
      ] as const) {
        const frame = sentBy(s.a, {
          kind,
          source: [addressOf(s.a, family), CLIENT_PORT],
          destination: [SERVICE[family], port],
        });
        const out = s.send(s.a, frame);
        expect(out).toMatchObject({ reason, verdict: ACTION.REDIRECT });
        expect(out.frame).toEqual(
          unreachable(
            packet()
              .ethernet({ source: s.a.gatewayMac, destination: s.a.mac })
              .ip({ source: GATEWAY[family], destination: addressOf(s.a, family) }),
            family,
            quoted(frame),
          ).bytes(),
        );
      }
      expectWhole(0);
    });

    it('from outside a port of which nobody serves is left to the node, and so is every other', () => {
      s.frontend({ address: EVERY[family], port: PORT + 1, protocol, backends: [] });
      serve(s.b, EVERY[family]);
      s.frontend({
        address: SERVICE[family],
        port: PORT + 3,
        protocol,
        backends: [{ address: addressOf(s.b, family), port: TARGET }],
        id: 2,
      });
      const arriving = (destination: string, port: number) =>
        sentBy('outside', {
          kind,
          source: [WORLD[family], CLIENT_PORT],
          destination: [destination, port],
        });
      expectUntouched(arriving(NODE[family], PORT + 1));
      expectUntouched(arriving(NODE[family], PORT + 2));
      // To an address that is not the node's: a service's among them.
      expectUntouched(arriving(WORLD_ROUTER[family], PORT));
      expectUntouched(arriving(SERVICE[family], PORT + 3));
      expect(s.answer(arriving(NODE[family], PORT)).reason).toBe('NONE');
    });

    it("a frame that is another host's, or everybody's, is left to the node's stack", () => {
      serve(s.b, EVERY[family]);
      for (const destination of ['02:aa:00:00:00:03', '01:00:5e:00:00:01', 'ff:ff:ff:ff:ff:ff']) {
        const macs = packet().ethernet({ ...OUTSIDE_MACS, destination });
        const ip = { source: WORLD[family], destination: NODE[family], ttl: TTL };
        const source: [string, number] = [WORLD[family], CLIENT_PORT];
        expectUntouched(transport(macs.ip(ip), { kind, source, destination: [NODE[family], PORT] }));
      }
      expectWhole(0);
    });

    it('nobody outside gets in under an address of the fabric', () => {
      serve(s.b, EVERY[family]);
      const source = (address: string): [string, number] => [address, CLIENT_PORT];
      for (const address of [addressOf(s.a, family), GATEWAY[family], NODE[family], NOBODY[family]]) {
        const frame = sentBy('outside', {
          kind,
          source: source(address),
          destination: [NODE[family], PORT],
        });
        expect(s.answer(frame).reason).toBe('BAD_SOURCE');
      }
      expectWhole(0);
    });

    it('a frontend of one address goes before that of every address', () => {
      serve(s.b, EVERY[family]);
      s.frontend({
        address: NODE[family],
        port: PORT,
        protocol,
        backends: [{ address: addressOf(s.c, family), port: TARGET }],
        id: 2,
      });
      const to = (destination: string) =>
        s.send(
          s.a,
          sentBy(s.a, {
            kind,
            source: [addressOf(s.a, family), CLIENT_PORT],
            destination: [destination, PORT],
          }),
        ).frame;
      const macOf = (frame: Uint8Array) => Buffer.from(frame.subarray(0, 6)).toString('hex');
      expect(macOf(to(NODE[family]))).toBe(s.c.mac.replaceAll(':', ''));
      expect(macOf(to(GATEWAY[family]))).toBe(s.b.mac.replaceAll(':', ''));
    });

    it('a backend of the other family serves nobody', () => {
      const other = family === 4 ? 6 : 4;
      const backends = [{ address: addressOf(s.b, other), port: TARGET }];
      s.frontend({ address: SERVICE[family], port: PORT, protocol, backends });
      s.frontend({ address: EVERY[family], port: PORT, protocol, backends, id: 2 });
      const to = (source: string, destination: string): Segment => ({
        kind,
        source: [source, CLIENT_PORT],
        destination: [destination, PORT],
      });
      const asked = sentBy(s.a, to(addressOf(s.a, family), SERVICE[family]));
      expect(s.send(s.a, asked).reason).toBe('NO_BACKEND');
      expectUntouched(sentBy('outside', to(WORLD[family], NODE[family])));
      expectWhole(0);
    });

    it('a port of an address that is not the node’s, or no longer, leads nowhere', () => {
      serve(s.b, WORLD[family]);
      const frame = sentBy(s.a, {
        kind,
        source: [addressOf(s.a, family), CLIENT_PORT],
        destination: [WORLD[family], PORT],
      });
      expect(s.send(s.a, frame).reason).toBe('NONE');
      const [record] = s.programs.conntrack.entries();
      expect(record?.value.endpointId).toEqual([s.a.id, 0]);
    });

    it("a backend's place that was given to another frontend is not taken for one's own", () => {
      serve(s.b);
      s.programs.backends.set(16, {
        frontendId: 99,
        address: mappedAddress(addressOf(s.c, family)),
        port: TARGET,
      });
      const frame = sentBy(s.a, {
        kind,
        source: [addressOf(s.a, family), CLIENT_PORT],
        destination: [SERVICE[family], PORT],
      });
      expect(s.send(s.a, frame).reason).toBe('NO_BACKEND');
    });

    it('only a client that is let in is kept at its container', () => {
      const backends = [{ address: addressOf(s.b, family), port: TARGET }];
      s.frontend({ address: EVERY[family], port: PORT, protocol, backends, affinityS: 60 });
      const asked = (end: End, source: string) =>
        sentBy(end, { kind, source: [source, CLIENT_PORT], destination: [NODE[family], PORT] });
      const [a, outside] = [addressOf(s.a, family), WORLD[family]];
      expect(s.answer(asked('outside', a)).reason).toBe('BAD_SOURCE');
      s.newEpoch(() => {});
      expect(s.answer(asked('outside', outside)).reason).toBe('POLICY_INGRESS');
      expect(s.send(s.a, asked(s.a, a)).reason).toBe('POLICY_EGRESS');
      expect(s.programs.affinity.entries()).toEqual([]);
      s.newEpoch((slot) => s.allowAll(slot));
      s.answer(asked('outside', outside));
      s.send(s.a, asked(s.a, a));
      const clients = s.programs.affinity.entries().map(({ key }) => Buffer.from(key.client).toString('hex'));
      const expected = [a, outside].map((address) => Buffer.from(mappedAddress(address)).toString('hex'));
      expect(clients.sort()).toEqual(expected.sort());
    });

    it('a client keeps its container for as long as it says, and no longer', () => {
      const backends = [s.b, s.c].map((end) => ({ address: addressOf(end, family), port: TARGET }));
      const service = { address: SERVICE[family], port: PORT, protocol };
      const chosen = (port: number) => {
        const frame = sentBy(s.a, {
          kind,
          source: [addressOf(s.a, family), port],
          destination: [SERVICE[family], PORT],
        });
        return Buffer.from(s.send(s.a, frame).frame.subarray(0, 6)).toString('hex');
      };
      const ports = Array.from({ length: 40 }, (_, at) => CLIENT_PORT + at);
      s.frontend({ ...service, backends });
      expect(new Set(ports.map(chosen)).size).toBe(2);
      s.programs.conntrack.clear();
      s.programs.nat.clear();
      s.frontend({ ...service, backends, affinityS: 60 });
      const kept = new Set(ports.map(chosen));
      expect(kept.size).toBe(1);
      for (const { key, value } of s.programs.affinity.entries())
        s.programs.affinity.set(key, { ...value, expiresNs: 1n });
      s.programs.conntrack.clear();
      s.programs.nat.clear();
      // The slots are the other way round: what was kept would be seen.
      s.frontend({ ...service, backends: [...backends].reverse(), affinityS: 60 });
      expect(new Set(ports.map(chosen)).size).toBe(1);
    });
  });

  it('fragments of either direction follow their first one', () => {
    const fragment = (macs: Packet, ends: [string, string], offset: number) => {
      const [source, destination] = ends;
      const more = offset === 0;
      return family === 4
        ? macs.ipv4({
            source,
            destination,
            ttl: TTL,
            id: 7,
            fragmentOffset: offset,
            moreFragments: more,
            protocol: PROTOCOL.UDP,
          })
        : macs
            .ipv6({ source, destination, hopLimit: TTL })
            .fragment({ offset, more, id: 7, next: PROTOCOL.UDP });
    };
    s.frontend({
      address: SERVICE[family],
      port: PORT,
      protocol: PROTOCOL.UDP,
      backends: [{ address: addressOf(s.b, family), port: TARGET }],
    });
    const head = (base: Packet, sourcePort: number, destinationPort: number) =>
      base.udp({ sourcePort, destinationPort, length: 1000, checksum: 0x1234 }).payload(24);
    const [a, b, front] = [addressOf(s.a, family), addressOf(s.b, family), SERVICE[family]];
    const fromA = packet().ethernet({ source: s.a.mac, destination: s.a.gatewayMac });
    const fromB = packet().ethernet({ source: s.b.mac, destination: s.b.gatewayMac });
    const toA = packet().ethernet({ source: s.a.gatewayMac, destination: s.a.mac });
    const toB = packet().ethernet({ source: s.b.gatewayMac, destination: s.b.mac });
    expect(s.send(s.a, fragment(fromA, [a, front], 32).payload(40)).reason).toBe('FRAGMENT_WITHOUT_FIRST');
    expect(s.send(s.a, head(fragment(fromA, [a, front], 0), CLIENT_PORT, PORT)).reason).toBe('NONE');
    const late = s.send(s.a, fragment(fromA, [a, front], 32).payload(40));
    expect(late.frame).toEqual(fragment(toB, [a, b], 32).payload(40).bytes());
    expect(s.send(s.b, head(fragment(fromB, [b, a], 0), TARGET, CLIENT_PORT)).reason).toBe('NONE');
    const answer = s.send(s.b, fragment(fromB, [b, a], 32).payload(40));
    expect(answer.frame).toEqual(fragment(toA, [front, a], 32).payload(40).bytes());
  });

  it.each(['udp', 'tcp'] as const)(
    'what comes to a socket of the node that talks to its sender is not for the %s port mapping of its port',
    async (kind) => {
      s.frontend({
        address: EVERY[family],
        port: PORT,
        protocol: protocolOf(kind),
        backends: [{ address: addressOf(s.b, family), port: TARGET }],
      });
      const coming = (port: number, flags?: number) =>
        sentBy('outside', {
          ...{ kind, source: [WORLD[family], port], destination: [NODE[family], PORT] },
          ...(flags === undefined ? {} : { flags }),
        });
      expect(s.answer(coming(CLIENT_PORT)).reason).toBe('NONE');
      const dial = ['dial', kind, WORLD[family], `${CLIENT_PORT}`, '60000', '1', `${PORT}`];
      const own = { index: s.outside, address: `${NODE[family]}/${family === 4 ? 32 : 128}`, noDad: true };
      const socket = s.programs.inside(() => {
        using rtnl = Rtnl.open();
        const { index } = own;
        rtnl.setLink(index, { up: true });
        rtnl.addAddress(own);
        rtnl.addRoute({ destination: family === 4 ? 'default4' : 'default6', index });
        return spawn(trafficProgram('sockets'), dial, { stdio: 'ignore' });
      });
      try {
        // A connection that the mapping has already goes on.
        expect(s.answer(coming(CLIENT_PORT, TCP.ACK)).reason).toBe('NONE');
        await vi.waitFor(() => {
          s.programs.conntrack.clear();
          s.programs.nat.clear();
          expectUntouched(coming(CLIENT_PORT));
        }, 10_000);
        expectUntouched(coming(CLIENT_PORT, TCP.SYN | TCP.ACK));
        expect(s.answer(coming(CLIENT_PORT + 1)).reason).toBe('NONE');
      } finally {
        socket.kill('SIGKILL');
        s.programs.inside(() => {
          using rtnl = Rtnl.open();
          rtnl.deleteAddress(own);
          rtnl.setLink(own.index, { up: false });
        });
      }
    },
  );

  it('who would send a packet on is told that it came too far, if the policy lets it in, and at a rate', () => {
    s.frontend({
      address: EVERY[family],
      port: PORT,
      protocol: PROTOCOL.TCP,
      backends: [{ address: addressOf(s.b, family), port: TARGET }],
    });
    const far = (flags?: number) =>
      sentBy(
        'outside',
        {
          ...{ kind: 'tcp', source: [WORLD[family], CLIENT_PORT], destination: [NODE[family], PORT] },
          ...(flags === undefined ? {} : { flags }),
        },
        1,
      );
    const told = (frame: Packet) => {
      const base = packet()
        .ethernet({ source: OUTSIDE_MACS.destination, destination: OUTSIDE_MACS.source })
        .ip({ source: NODE[family], destination: WORLD[family] });
      const body = quoted(frame);
      return (family === 4 ? base.icmp({ type: 11, body }) : base.icmpv6({ type: 3, body })).bytes();
    };
    const first = s.answer(far());
    expect(first).toMatchObject({ reason: 'HOP_LIMIT', verdict: ACTION.REDIRECT });
    expect(first.frame).toEqual(told(far()));
    expectWhole(0);

    const request: Segment = {
      ...{ kind: 'tcp', source: [WORLD[family], CLIENT_PORT], destination: [NODE[family], PORT] },
    };
    expect(s.answer(sentBy('outside', request)).reason).toBe('NONE');
    const known = s.answer(far(TCP.ACK));
    expect(known.frame).toEqual(told(far(TCP.ACK)));

    const context = skBuff({ ifindex: s.outside });
    const verdicts = s.programs.inside(() =>
      Array.from(
        { length: 4000 },
        () => s.programs.runUncounted('from_uplink', far(TCP.ACK).bytes(), context).returnValue | 0,
      ),
    );
    expect(verdicts).toContain(ACTION.DROP);
    s.newEpoch(() => {});
    expect(s.answer(far()).verdict).toBe(ACTION.DROP);
    s.programs.conntrack.clear();
    s.programs.sweep();
    expect(s.answer(far())).toMatchObject({ reason: 'POLICY_INGRESS', verdict: ACTION.DROP });
  });

  it('echoes to the address of a service are answered by nobody, and refused', () => {
    s.frontend({
      address: SERVICE[family],
      port: PORT,
      protocol: PROTOCOL.TCP,
      backends: [{ address: addressOf(s.b, family), port: TARGET }],
    });
    const base = packet()
      .ethernet({ source: s.a.mac, destination: s.a.gatewayMac })
      .ip({ source: addressOf(s.a, family), destination: SERVICE[family] });
    const frame = family === 4 ? base.icmp({ type: 8, id: 3 }) : base.icmpv6({ type: 128, id: 3 });
    expect(s.send(s.a, frame.payload(32))).toMatchObject({ reason: 'NO_SERVICE', verdict: ACTION.REDIRECT });
  });
});

it('the two families are services of their own', () => {
  expect(NETWORK.BLUE).not.toBe(NETWORK.RED);
  s.frontend({
    address: EVERY[4],
    port: PORT,
    protocol: PROTOCOL.TCP,
    backends: [{ address: addressOf(s.b, 4), port: TARGET }],
  });
  const frame = sentBy('outside', {
    kind: 'tcp',
    source: [WORLD[6], CLIENT_PORT],
    destination: [NODE[6], PORT],
  });
  expectUntouched(frame);
});
