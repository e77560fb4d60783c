/** What leaves by the uplink and comes back by it: each frame as a whole, so that every checksum is proved. */
import { describe, expect, it } from 'vitest';
import {
  answering,
  arriving,
  expectWhole,
  handed,
  KINDS,
  open,
  opening,
  PORT,
  PORTS,
  portTaken,
  SERVER,
  sent,
  TTL,
  translated,
  useMasquerade,
} from '../support/masqueraded.js';
import { packet } from '../support/packet.js';
import { ACTION } from '../support/programs.js';
import type { Scenario } from '../support/scenario.js';
import { FAMILIES, NODE, UPLINK, WORLD, WORLD_ROUTER } from '../support/scenario-parties.js';
import { aliases, expectUntouched, OUTSIDE_MACS } from '../support/translated.js';
import { quoted, unreachable } from './rows/icmp.js';

let s: Scenario;
useMasquerade((scenario) => {
  s = scenario;
});

describe.each(FAMILIES)('IPv%i', (family) => {
  describe.each(KINDS)('%s', (kind) => {
    it("leaves under the node's address, and the answer finds the container", () => {
      const out = s.send(s.a, opening(sent(s.a, family), family, kind, PORT));
      const port = portTaken(s);
      expect(out).toMatchObject({ reason: 'NONE', verdict: ACTION.REDIRECT, endpointId: s.a.id });
      expect(PORTS).toContain(port);
      expect(out.frame).toEqual(opening(translated(s.a, family), family, kind, port).bytes());

      const back = s.answer(answering(arriving(family), family, kind, port));
      expect(back).toMatchObject({
        reason: 'NONE',
        verdict: ACTION.REDIRECT,
        endpointId: s.a.id,
        direction: 1,
      });
      expect(back.frame).toEqual(answering(handed(s.a, family), family, kind, PORT).bytes());
      expectWhole(s);
    });

    it('an error about it finds the container, and quotes what the container sent', () => {
      const port = open(s, s.a, family, kind);
      const about = quoted(opening(translated(s.a, family), family, kind, port));
      const back = s.answer(unreachable(arriving(family, WORLD_ROUTER[family]), family, about));
      expect(back).toMatchObject({ reason: 'NONE', verdict: ACTION.REDIRECT, endpointId: s.a.id });
      const own = quoted(opening(sent(s.a, family, TTL - 1), family, kind, PORT));
      expect(back.frame).toEqual(unreachable(handed(s.a, family, WORLD_ROUTER[family]), family, own).bytes());
    });

    it("the container's error about an answer reaches the outside, and quotes what came from there", () => {
      const port = open(s, s.a, family, kind);
      s.answer(answering(arriving(family), family, kind, port));
      const about = quoted(answering(handed(s.a, family), family, kind, PORT));
      const out = s.send(s.a, unreachable(sent(s.a, family), family, about));
      expect(out).toMatchObject({ reason: 'NONE', verdict: ACTION.REDIRECT });
      const theirs = quoted(
        answering(
          packet()
            .ethernet(OUTSIDE_MACS)
            .ip({ source: WORLD[family], destination: NODE[family], ttl: TTL - 1 }),
          family,
          kind,
          port,
        ),
      );
      expect(out.frame).toEqual(unreachable(translated(s.a, family), family, theirs).bytes());
    });

    it("nothing from outside belongs to it by the container's own address", () => {
      open(s, s.a, family, kind);
      const answer = answering(handed(s.a, family), family, kind, PORT);
      expect(s.receive(s.a, answer, UPLINK).reason).toBe('NAT_CONFLICT');
      const about = quoted(opening(sent(s.a, family), family, kind, PORT));
      const error = unreachable(handed(s.a, family, WORLD_ROUTER[family]), family, about);
      expect(s.receive(s.a, error, UPLINK).reason).toBe('ICMP_UNRELATED');
    });

    it("what opens a connection by the same ports is the node's own", () => {
      const port = open(s, s.a, family, kind);
      if (kind === 'udp') expectUntouched(s, arriving(family).udp({ sourcePort: 54, destinationPort: port }));
      else if (kind === 'sctp')
        expectUntouched(s, arriving(family).sctp({ sourcePort: 54, destinationPort: port }));
      else if (kind === 'tcp')
        expectUntouched(s, arriving(family).tcp({ sourcePort: SERVER, destinationPort: port }));
      else expectUntouched(s, opening(arriving(family), family, kind, port));
    });

    it('is cut when the policy changes, with its alias', () => {
      const port = open(s, s.a, family, kind);
      s.newEpoch(() => {});
      expect(s.answer(answering(arriving(family), family, kind, port))).toMatchObject({
        reason: 'CONNECTION_CUT',
        verdict: ACTION.DROP,
        endpointId: s.a.id,
      });
      expect(aliases(s)).toEqual([]);
      expectUntouched(s, answering(arriving(family), family, kind, port));
      expectWhole(s);
    });

    it('goes on under its alias when the policy changes and still allows it', () => {
      const port = open(s, s.a, family, kind);
      s.newEpoch((slot) => s.allowAll(slot));
      expect(s.answer(answering(arriving(family), family, kind, port)).reason).toBe('NONE');
      const frame = opening(sent(s.a, family), family, kind, PORT);
      expect(s.send(s.a, frame).frame).toEqual(opening(translated(s.a, family), family, kind, port).bytes());
      expectWhole(s);
    });

    it('is not made when the policy forbids it', () => {
      s.newEpoch(() => {});
      expect(s.send(s.a, opening(sent(s.a, family), family, kind, PORT)).reason).toBe('POLICY_EGRESS');
      expect(aliases(s)).toEqual([]);
    });

    it('keeps the address that it has when the uplink gets another', () => {
      const port = open(s, s.a, family, kind);
      s.uplink({ ifindex: s.outside, ip4: '10.99.0.6', ip6: 'fd00:99::6' });
      const frame = opening(sent(s.a, family), family, kind, PORT);
      expect(s.send(s.a, frame).frame).toEqual(opening(translated(s.a, family), family, kind, port).bytes());
      expect(s.answer(answering(arriving(family), family, kind, port)).reason).toBe('NONE');
    });

    it("leaves under its network's address where that has one, and the answer finds the container", () => {
      s.masquerade(s.b);
      s.sourceAddress(s.a, { 4: '198.19.7.7', 6: 'fd98::77' });
      const out = s.send(s.a, opening(sent(s.a, family), family, kind, PORT));
      const own = { 4: '198.19.7.7', 6: 'fd98::77' }[family];
      const ip = { source: own, destination: WORLD[family], ttl: TTL - 1 };
      const macs = { source: s.a.mac, destination: s.a.gatewayMac };
      expect(out.frame).toEqual(opening(packet().ethernet(macs).ip(ip), family, kind, portTaken(s)).bytes());
      const answer = packet()
        .ethernet(OUTSIDE_MACS)
        .ip({ source: WORLD[family], destination: own, ttl: TTL });
      const back = s.answer(answering(answer, family, kind, portTaken(s)));
      expect(back.frame).toEqual(answering(handed(s.a, family), family, kind, PORT).bytes());
      s.programs.nat.clear();
      const other = s.send(s.b, opening(sent(s.b, family), family, kind, PORT));
      expect(other.frame).toEqual(opening(translated(s.b, family), family, kind, portTaken(s)).bytes());
    });
  });

  it('an event tells of the flow by the addresses that the policy knows', async () => {
    const port = open(s, s.a, family, 'udp');
    s.newEpoch(() => {});
    s.answer(answering(arriving(family), family, 'udp', port));
    expect(await s.programs.takeEvent()).toMatchObject({
      endpointId: s.a.id,
      direction: 1,
      sourceIdentity: 2,
      destinationIdentity: s.a.identity,
    });
  });
});
