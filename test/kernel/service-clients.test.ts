/**
 * What a client of the fabric reaches by a port that leads to containers beside another container: itself, the node
 * when the port mapping is gone, and the container by its own name, which is another connection.
 */
import { describe, expect, it } from 'vitest';
import { ConntrackFlags } from '../../src/datapath/abi/generated.js';
import { SERVICE } from '../support/frontends.js';
import { type Packet, PROTOCOL, packet, TCP } from '../support/packet.js';
import {
  type AddressAndPort,
  CLIENT_PORT,
  EVERY,
  expectWhole,
  handedTo,
  KINDS,
  PORT,
  sentBy,
  serve,
  TARGET,
  TTL,
} from '../support/port-connections.js';
import { ACTION } from '../support/programs.js';
import type { Scenario } from '../support/scenario.js';
import { addressOf, FAMILIES, GATEWAY, NODE } from '../support/scenario-parties.js';
import { useTranslation } from '../support/translated.js';

let s: Scenario;
useTranslation((scenario) => {
  s = scenario;
});

describe.each(FAMILIES)('IPv%i', (family) => {
  describe.each(KINDS)('%s', (kind) => {
    it('what the client says to the container itself by the same ports is another connection, and is refused', () => {
      serve(s, s.b, family, kind);
      const own: AddressAndPort = [addressOf(s.a, family), CLIENT_PORT];
      const back: AddressAndPort = [addressOf(s.b, family), TARGET];
      s.send(s.a, sentBy(s.a, { kind, source: own, destination: [SERVICE[family], PORT] }));
      const direct = sentBy(s.a, { kind, source: own, destination: back });
      expect(s.send(s.a, direct).reason).toBe('NAT_CONFLICT');
      expectWhole(s, 1);

      s.programs.conntrack.clear();
      s.programs.sweep();
      expect(s.send(s.a, direct).reason).toBe('NONE');
      const named = sentBy(s.a, { kind, source: own, destination: [SERVICE[family], PORT] });
      expect(s.send(s.a, named).reason).toBe('NAT_CONFLICT');
      expectWhole(s, 0);
    });

    it.each([
      ['a service', SERVICE[family], SERVICE[family]],
      ["the node's address", NODE[family], EVERY[family]],
      ['the gateway', GATEWAY[family], EVERY[family]],
    ])('a container reaches itself by %s, whatever the policy says of it', (_name, asked, listed) => {
      s.newEpoch(() => {});
      serve(s, s.a, family, kind, listed);
      const own: AddressAndPort = [addressOf(s.a, family), CLIENT_PORT];
      const front: AddressAndPort = [asked, PORT];
      const back: AddressAndPort = [addressOf(s.a, family), TARGET];
      const caller: AddressAndPort = [asked, CLIENT_PORT];
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
      expectWhole(s, 1);
    });

    it.each([
      ['has ended', () => {}],
      ['has a container that is gone', () => s.remove(s.b)],
    ])(
      "without its port mapping a port is the node's, also to a client whose connection %s",
      (_name, change) => {
        serve(s, s.b, family, kind, EVERY[family]);
        const own: AddressAndPort = [addressOf(s.a, family), CLIENT_PORT];
        const front: AddressAndPort = [NODE[family], PORT];
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
    serve(s, s.b, family, 'udp');
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
});
