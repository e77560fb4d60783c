/** Who serves a port that leads to containers: by which frontend, which of its backends, for how long, or nobody. */
import { describe, expect, it } from 'vitest';
import { SERVICE } from '../support/frontends.js';
import { mappedAddress, packet } from '../support/packet.js';
import {
  type AddressAndPort,
  CLIENT_PORT,
  type End,
  EVERY,
  expectWhole,
  handedTo,
  isOutside,
  KINDS,
  ownAddress,
  PORT,
  pass,
  protocolOf,
  type Segment,
  sentBy,
  serve,
  TARGET,
  TTL,
} from '../support/port-connections.js';
import { ACTION } from '../support/programs.js';
import type { Scenario } from '../support/scenario.js';
import { addressOf, FAMILIES, GATEWAY, NODE, WORLD } from '../support/scenario-parties.js';
import { expectUntouched, useTranslation } from '../support/translated.js';
import { quoted, unreachable } from './rows/icmp.js';

let s: Scenario;
useTranslation((scenario) => {
  s = scenario;
});

describe.each(FAMILIES)('IPv%i', (family) => {
  describe.each(KINDS)('%s', (kind) => {
    const protocol = protocolOf(kind);

    it('nobody who serves, and no port at all: the client is told by the gateway, and nothing is kept', () => {
      serve(s, s.b, family, kind);
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
      expectWhole(s, 0);
    });

    it('a frontend of one address goes before that of every address', () => {
      serve(s, s.b, family, kind, EVERY[family]);
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
      expectUntouched(s, sentBy('outside', to(WORLD[family], NODE[family])));
      expectWhole(s, 0);
    });

    it('a port of an address that is not the node’s, or no longer, leads nowhere', () => {
      serve(s, s.b, family, kind, WORLD[family]);
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
      serve(s, s.b, family, kind);
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

  describe.each(['udp', 'sctp'] as const)('%s', (kind) => {
    /** What a container goes on to send to a client after it served no longer, and what that client says. */
    const streaming = (client: End) => {
      const asked = isOutside(client) ? NODE[family] : SERVICE[family];
      serve(s, s.b, family, kind, isOutside(client) ? EVERY[family] : asked);
      const own: AddressAndPort = [ownAddress(client, family), CLIENT_PORT];
      const back: AddressAndPort = [addressOf(s.b, family), TARGET];
      return {
        stream: sentBy(s.b, { kind, source: back, destination: own }),
        request: sentBy(client, { kind, source: own, destination: [asked, PORT] }),
        direct: sentBy(client, { kind, source: own, destination: back }),
        delivered: { kind, source: own, destination: back },
        heard: { kind, source: [asked, PORT] as AddressAndPort, destination: own },
      };
    };

    it('a client in a container is served at once, whatever the container has sent it in its own name', () => {
      const { stream, request, delivered, heard } = streaming(s.a);
      expect(s.send(s.b, stream).reason).toBe('NONE');

      const there = pass(s, s.a, request);
      expect(there).toMatchObject({ reason: 'NONE', verdict: ACTION.REDIRECT });
      expect(there.frame).toEqual(handedTo(s.b, delivered, TTL).bytes());
      const back = s.send(s.b, stream);
      expect(back.frame).toEqual(handedTo(s.a, heard).bytes());
      expectWhole(s, 1);
      expect(s.programs.flowCounts.get(s.b.id)).toMatchObject({ flows: 0 });
    });

    it('who writes an address outside on a datagram takes nothing from whom the container speaks to there', () => {
      const { stream, request } = streaming('outside');
      expect(s.send(s.b, stream).reason).toBe('NONE');
      const before = s.programs.conntrack.entries();
      expect(pass(s, 'outside', request).reason).toBe('NAT_CONFLICT');
      expect(s.programs.conntrack.entries()).toEqual(before);
      expect(s.send(s.b, stream).reason).toBe('NONE');
    });

    it('what the client has answered stays, and so does what no policy lets it replace', () => {
      const { stream, request, direct } = streaming(s.a);
      s.send(s.b, stream);
      s.newEpoch((slot) => {
        s.rule({ subject: s.b, direction: 'egress' }, slot);
        s.rule({ subject: s.a, direction: 'ingress' }, slot);
      });
      s.send(s.b, stream);
      const before = s.programs.conntrack.entries();
      expect(s.send(s.a, request).reason).toBe('POLICY_EGRESS');
      expect(s.programs.conntrack.entries()).toEqual(before);

      expect(s.send(s.a, direct).reason).toBe('NONE');
      s.newEpoch((slot) => s.allowAll(slot));
      expect(s.send(s.a, request).reason).toBe('NAT_CONFLICT');
      expect(s.send(s.b, stream).reason).toBe('NONE');
      expect(s.programs.conntrack.entries()[0]?.value.endpointId).toEqual([s.b.id, s.a.id]);
    });
  });

  it('echoes to the address of a service are answered by nobody, and refused', () => {
    serve(s, s.b, family, 'tcp');
    const base = packet()
      .ethernet({ source: s.a.mac, destination: s.a.gatewayMac })
      .ip({ source: addressOf(s.a, family), destination: SERVICE[family] });
    const frame = family === 4 ? base.icmp({ type: 8, id: 3 }) : base.icmpv6({ type: 128, id: 3 });
    expect(s.send(s.a, frame.payload(32))).toMatchObject({ reason: 'NO_SERVICE', verdict: ACTION.REDIRECT });
  });
});
