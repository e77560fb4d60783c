/**
 * What the daemon replaces while programs read it is taken whole or not at all, in whatever order the kernel writes it: no
 * mixture of two values decides anything.
 */
import { beforeEach, describe, expect, it } from 'vitest';
import { SERVICE } from '../support/frontends.js';
import { rangePeer } from '../support/rule-maps.js';
import type { Scenario } from '../support/scenario.js';
import { outgoing } from '../support/scenario-frames.js';
import { addressOf, FAMILIES, NODE, WORLD } from '../support/scenario-parties.js';
import type { TypedMap } from '../support/typed-map.js';
import { useScenario } from '../support/use-scenario.js';

let s: Scenario;
useScenario((scenario) => {
  s = scenario;
});

/** The programs read no less at once. */
const WORD = 8;

/** What a reader may find of a value that is being written over another: any stretch of words is the one's, the rest the other's. */
function mixtures(one: Uint8Array, other: Uint8Array): Uint8Array[] {
  const found = new Map<string, Uint8Array>();
  const add = (outer: Uint8Array, inner: Uint8Array, from: number, to: number) => {
    const mixed = Uint8Array.from([...outer.slice(0, from), ...inner.slice(from, to), ...outer.slice(to)]);
    found.set(Buffer.from(mixed).toString('hex'), mixed);
  };
  for (let from = 0; from < one.length; from += WORD) {
    for (let to = from + WORD; to <= one.length; to += WORD) {
      add(one, other, from, to);
      add(other, one, from, to);
    }
  }
  for (const whole of [one, other]) found.delete(Buffer.from(whole).toString('hex'));
  return [...found.values()];
}

/** Puts each mixture of the values of both keys in the place of the first. */
function reasonsOf<K, V>(map: TypedMap<K, V>, [own, other]: [Uint8Array, Uint8Array], run: () => string) {
  const [value, foreign] = [map.map.get(own), map.map.get(other)];
  if (!value || !foreign) throw new Error('no such values');
  const mixed = mixtures(value, foreign);
  expect(mixed).not.toEqual([]);
  const reasons = mixed.map((mixture) => {
    map.map.set(own, mixture);
    s.programs.conntrack.clear();
    return run();
  });
  map.map.set(own, value);
  return [...new Set(reasons)];
}

/** The two entries of a map; that of the packet first. */
function bothKeys<K, V>(
  { map }: TypedMap<K, V>,
  isOwn: (value: Uint8Array) => boolean,
): [Uint8Array, Uint8Array] {
  const [first, second, ...more] = [...map.keys()];
  if (!first || !second || more.length > 0) throw new Error('not two entries');
  const value = map.get(first);
  return value && isOwn(value) ? [first, second] : [second, first];
}

const wordOf = (value: Uint8Array, at: number) => Buffer.from(value).readUInt32LE(at);

describe.each(FAMILIES)('IPv%i', (family) => {
  const send = (to: string) => s.send(s.a, outgoing(s.a, to).udp()).reason;

  beforeEach(() => s.masquerade(s.a));

  it('an endpoint', () => {
    s.allowAll();
    const keys = [s.a, s.b].map(({ ifindex }) => new Uint8Array(Uint32Array.of(ifindex).buffer));
    const both = keys as [Uint8Array, Uint8Array];
    const asItself = () => send(addressOf(s.c, family));
    const asTheOther = () =>
      s.send(s.a, outgoing({ ...s.b, mac: s.a.mac, gatewayMac: s.a.gatewayMac }, WORLD[family]).udp()).reason;
    expect([asItself(), asTheOther()]).toEqual(['NONE', 'SPOOFED_IP']);
    expect(reasonsOf(s.programs.endpoints, both, asItself)).toEqual(['UNKNOWN_ENDPOINT']);
    expect(reasonsOf(s.programs.endpoints, both, asTheOther)).toEqual(['UNKNOWN_ENDPOINT']);
  });

  it('a rule', () => {
    s.rule({ subject: s.a, direction: 'egress', verdict: 'deny', rule: 1 });
    s.rule({ subject: s.b, direction: 'ingress', verdict: 'allow', rule: 2, precedence: 3 });
    const run = () => send(WORLD[family]);
    expect(run()).toBe('POLICY_EGRESS_DENY');
    const both = bothKeys(s.programs.policy, (value) => wordOf(value, 0) === s.a.identity);
    expect(reasonsOf(s.programs.policy, both, run)).toEqual(['POLICY_MISSING']);
  });

  it('what there is to know of the rules of a subject', () => {
    s.isolate(s.a, 'egress');
    s.rule({ subject: s.b, direction: 'egress', port: 80 });
    s.programs.subjects.delete({ identity: s.c.identity });
    const run = () => send(WORLD[family]);
    expect(run()).toBe('POLICY_EGRESS');
    const both = bothKeys(s.programs.subjects, (value) => wordOf(value, 0) === s.a.identity);
    expect(reasonsOf(s.programs.subjects, both, run)).toEqual(['POLICY_MISSING']);
  });

  it('a range', () => {
    const every = family === 4 ? '0.0.0.0/0' : '::/0';
    s.rule({ subject: s.a, direction: 'egress', peer: rangePeer(1), verdict: 'deny' });
    s.rule({ subject: s.a, direction: 'egress', peer: rangePeer(2), verdict: 'allow' });
    s.range(s.a, 'egress', every, 1);
    s.range(s.b, 'ingress', '10.55.0.0/16', 2);
    const run = () => send(WORLD[family]);
    expect(run()).toBe('POLICY_EGRESS_DENY');
    const both = bothKeys(s.programs.ranges, (value) => wordOf(value, 0) === s.a.identity);
    expect(reasonsOf(s.programs.ranges, both, run)).toEqual(['POLICY_MISSING']);
  });

  it('the names of a port', () => {
    s.allowAll();
    s.rule({ subject: s.b, direction: 'ingress', protocol: 17, portName: 7, verdict: 'deny' });
    s.portNames(s.b, 17, 53, 7);
    s.portNames(s.a, 6, 80, 8, 9);
    const run = () => s.send(s.a, outgoing(s.a, addressOf(s.b, family)).udp({ destinationPort: 53 })).reason;
    expect(run()).toBe('POLICY_INGRESS_DENY');
    const both = bothKeys(s.programs.portNames, (value) => wordOf(value, 0) === s.b.id);
    expect(reasonsOf(s.programs.portNames, both, run)).toEqual(['POLICY_MISSING']);
  });

  it('a port that leads to containers', () => {
    s.allowAll();
    const backends = [{ address: addressOf(s.b, family), port: 53 }];
    s.frontend({ address: SERVICE[family], port: 53, protocol: 17, backends, id: 1 });
    s.frontend({ address: SERVICE[family], port: 54, protocol: 17, backends, id: 2, affinityS: 9 });
    const run = () => s.send(s.a, outgoing(s.a, SERVICE[family]).udp({ destinationPort: 53 })).reason;
    expect(run()).toBe('NONE');
    const both = bothKeys(s.programs.frontends, (value) => wordOf(value, 20) === 1);
    expect(reasonsOf(s.programs.frontends, both, run)).toEqual(['NO_SERVICE']);
  });

  it('an uplink', () => {
    s.allowAll();
    s.uplinks([
      { ifindex: s.outside, ip4: NODE[4], ip6: NODE[6] },
      { ifindex: s.spare[1] ?? 0, ip4: '10.99.0.77', ip6: 'fd00:99::77' },
    ]);
    const run = () => send(WORLD[family]);
    expect(run()).toBe('NONE');
    const both = [0, 1].map((slot) => new Uint8Array(Uint32Array.of(slot).buffer));
    expect(reasonsOf(s.programs.uplinks, both as [Uint8Array, Uint8Array], run)).toEqual([
      'NO_UPLINK_ADDRESS',
    ]);
  });
});
