/** Ranges of addresses and names of ports: which of them a packet falls under. */
import { describe, expect, it } from 'vitest';
import { Identity } from '../../src/datapath/abi/generated.js';
import { addressBits, formatAddress, formatCidr, parseAddress, parseCidr } from '../../src/model/address.js';
import { PROTOCOL } from '../support/packet.js';
import { rangePeer } from '../support/rule-maps.js';
import type { Scenario } from '../support/scenario.js';
import { echo, incoming, outgoing } from '../support/scenario-frames.js';
import { addressOf, FAMILIES, GATEWAY, NODE, UPLINK, WORLD } from '../support/scenario-parties.js';
import { useScenario } from '../support/use-scenario.js';

let s: Scenario;
useScenario((scenario) => {
  s = scenario;
});

const send = (address: string) => {
  s.programs.conntrack.clear();
  return s.send(s.a, outgoing(s.a, address).tcp()).reason;
};
/** By family: everything, a range, one narrower inside, an address; and addresses in each of them and beside. */
const NESTED = {
  4: {
    all: '0.0.0.0/0',
    wide: '198.18.0.0/16',
    narrow: '198.18.4.0/22',
    one: '198.18.5.9/32',
    inOne: '198.18.5.9',
    inNarrow: ['198.18.4.0', '198.18.7.255', '198.18.5.8', '198.18.5.10'],
    inWide: ['198.18.0.0', '198.18.3.255', '198.18.8.0', '198.18.255.255'],
    outside: ['198.17.255.255', '198.19.0.0', '10.99.0.5'],
  },
  6: {
    all: '::/0',
    wide: 'fd99::/32',
    narrow: 'fd99:0:4000::/38',
    one: 'fd99:0:4100::9/128',
    inOne: 'fd99:0:4100::9',
    inNarrow: ['fd99:0:4000::', 'fd99:0:43ff:ffff:ffff:ffff:ffff:ffff', 'fd99:0:4100::8'],
    inWide: ['fd99::', 'fd99:0:3fff:ffff:ffff:ffff:ffff:ffff', 'fd99:0:4400::', 'fd99:0:ffff::1'],
    outside: ['fd98:ffff:ffff:ffff::1', 'fd99:1::', 'fd00:99::5'],
  },
} as const;

/** Addresses that stay ordinary ones whichever of their bits is another. */
const NARROWEST = { 4: { base: '10.55.0.9', bits: 32 }, 6: { base: '2001:db8::9', bits: 128 } } as const;

function withBitFlipped(text: string, bit: number): string {
  const { family, value } = parseAddress(text);
  return formatAddress({ family, value: value ^ (1n << BigInt(addressBits(family) - 1 - bit)) });
}

describe.each(FAMILIES)('ranges of IPv%i', (family) => {
  const { all, wide, narrow, one, inOne, inNarrow, inWide, outside } = NESTED[family];
  const allow = (cidrClass: number) =>
    s.rule({ subject: s.a, direction: 'egress', peer: rangePeer(cidrClass) });
  const reasons = (addresses: readonly string[]) => addresses.map(send);
  const every = (addresses: readonly string[], reason: string) => addresses.map(() => reason);

  it('an address belongs to its narrowest range alone', () => {
    s.range(s.a, 'egress', wide, 1);
    s.range(s.a, 'egress', narrow, 2);
    s.range(s.a, 'egress', one, 3);
    allow(2);
    expect(reasons(inNarrow)).toEqual(every(inNarrow, 'NONE'));
    expect(reasons([...inWide, inOne, ...outside])).toEqual(
      every([...inWide, inOne, ...outside], 'POLICY_EGRESS'),
    );
    allow(1);
    expect(reasons([...inWide, ...inNarrow])).toEqual(every([...inWide, ...inNarrow], 'NONE'));
    expect(reasons([inOne, ...outside])).toEqual(every([inOne, ...outside], 'POLICY_EGRESS'));
    allow(3);
    expect(send(inOne)).toBe('NONE');
  });

  it('of ranges of every length there is, one around the other, the narrowest decides', () => {
    const { base, bits } = NARROWEST[family];
    const lengths = [...Array(bits + 1).keys()];
    for (const length of lengths) {
      s.range(s.a, 'egress', formatCidr(parseCidr(`${base}/${length}`, 'mask')), 1 + length);
      s.rule({ subject: s.a, direction: 'egress', peer: rangePeer(1 + length), rule: 1000 + length });
    }
    for (const length of lengths) {
      // It has that many bits of the base, and then another.
      const address = length === bits ? base : withBitFlipped(base, length);
      expect([address, send(address)]).toEqual([address, 'NONE']);
      expect([address, s.programs.conntrack.entries()[0]?.value.rule[0]]).toEqual([address, 1000 + length]);
    }
  });

  it('a length that no range of the subject has changes nothing', () => {
    s.range(s.a, 'egress', wide, 1);
    allow(1);
    const { bits } = NARROWEST[family];
    for (let length = 128 - bits; length <= 128; length++) s.rangeLength(s.a, 'egress', family, length);
    expect(reasons([...inWide, ...inNarrow])).toEqual(every([...inWide, ...inNarrow], 'NONE'));
    expect(reasons(outside)).toEqual(every(outside, 'POLICY_EGRESS'));
  });

  it('an exception is a range that no rule is about', () => {
    s.range(s.a, 'egress', all, 1);
    s.range(s.a, 'egress', narrow, 2);
    allow(1);
    expect(reasons([...inWide, ...outside])).toEqual(every([...inWide, ...outside], 'NONE'));
    expect(reasons([...inNarrow, inOne])).toEqual(every([...inNarrow, inOne], 'POLICY_EGRESS'));
  });

  it('the addresses of a range that this generation does not have belong to the next wider one', () => {
    s.range(s.a, 'egress', wide, 1);
    s.range(s.a, 'egress', narrow, 0);
    allow(1);
    s.rule({ subject: s.a, direction: 'egress', peer: rangePeer(0), verdict: 'deny', precedence: 900 });
    expect(reasons([...inNarrow, ...inWide])).toEqual(every([...inNarrow, ...inWide], 'NONE'));
    expect(reasons(outside)).toEqual(every(outside, 'POLICY_EGRESS'));
  });

  it('the slot that does not count is never seen', () => {
    const slot = s.epoch & 1;
    const other = slot ^ 1;
    s.range(s.a, 'egress', wide, 1, slot);
    s.range(s.a, 'egress', wide, 2, other);
    s.range(s.a, 'egress', narrow, 1, slot);
    s.range(s.a, 'egress', narrow, 3, other);
    for (const endpoint of [s.a, s.b, s.c]) s.computed(endpoint, other);
    s.rule({ subject: s.a, direction: 'egress', peer: rangePeer(1) }, slot);
    s.rule({ subject: s.a, direction: 'egress', peer: rangePeer(3) }, other);
    expect(reasons([...inWide, ...inNarrow])).toEqual(every([...inWide, ...inNarrow], 'NONE'));
    s.programs.control.set(0, { policyEpoch: s.epoch + 1 });
    expect(reasons(inNarrow)).toEqual(every(inNarrow, 'NONE'));
    expect(reasons(inWide)).toEqual(every(inWide, 'POLICY_EGRESS'));
    s.programs.control.set(0, { policyEpoch: s.epoch + 1 });
    expect(reasons([...inWide, ...inNarrow])).toEqual(every([...inWide, ...inNarrow], 'NONE'));
  });

  it('ranges of another subject or direction say nothing', () => {
    allow(1);
    s.range(s.b, 'egress', all, 1);
    s.range(s.a, 'ingress', all, 1);
    // The subject looks for ranges in that direction, and has none that holds the address.
    s.range(s.a, 'egress', one, 2);
    expect(reasons(inWide)).toEqual(every(inWide, 'POLICY_EGRESS'));
  });

  it('everything of a family is not everything of the other', () => {
    const other = family === 4 ? 6 : 4;
    s.range(s.a, 'egress', all, 1);
    allow(1);
    expect(send(WORLD[family])).toBe('NONE');
    expect(send(WORLD[other])).toBe('POLICY_EGRESS');
  });

  it('a range holds containers, the node and the gateway as well as the world', () => {
    s.range(s.a, 'egress', all, 1);
    s.range(s.b, 'ingress', all, 1);
    allow(1);
    s.rule({ subject: s.b, direction: 'ingress', peer: rangePeer(1) });
    for (const address of [addressOf(s.b, family), NODE[family], GATEWAY[family], WORLD[family]]) {
      expect([address, send(address)]).toEqual([address, 'NONE']);
    }
  });

  it('what comes in is judged by its source address', () => {
    s.range(s.a, 'ingress', wide, 1);
    s.rule({ subject: s.a, direction: 'ingress', peer: rangePeer(1) });
    const receive = (source: string) => {
      s.programs.conntrack.clear();
      return s.receive(s.a, incoming(s.a, source).tcp(), UPLINK).reason;
    };
    expect(inWide.map(receive)).toEqual(every(inWide, 'NONE'));
    expect(receive(outside[1])).toBe('POLICY_INGRESS');
  });

  it('an echo is in a range too', () => {
    s.range(s.a, 'egress', wide, 1);
    allow(1);
    expect(s.send(s.a, echo(outgoing(s.a, inOne), family, 7)).reason).toBe('NONE');
  });

  it('a rule for a range competes with those for the identity', () => {
    s.range(s.a, 'egress', wide, 1);
    s.rule({ subject: s.a, direction: 'egress', peer: Identity.WORLD, precedence: 5 });
    s.rule({ subject: s.a, direction: 'egress', peer: rangePeer(1), precedence: 5, verdict: 'deny' });
    expect(send(inOne)).toBe('POLICY_EGRESS_DENY');
    expect(send(outside[1])).toBe('NONE');
  });
});

const NAME = { HTTP: 1, METRICS: 2, DNS: 3, OTHER: 4, FIFTH: 5 } as const;
const { TCP, UDP } = PROTOCOL;

describe.each(FAMILIES)('names of ports, IPv%i', (family) => {
  const to = (port: number, transport: 'tcp' | 'udp' = 'tcp', endpoint = s.b) => {
    s.programs.conntrack.clear();
    return s.send(s.a, outgoing(s.a, addressOf(endpoint, family))[transport]({ destinationPort: port }))
      .reason;
  };
  const egress = (portName: number, protocol: number = TCP) =>
    s.rule({ subject: s.a, direction: 'egress', protocol, portName });
  const openIngress = () => {
    s.rule({ subject: s.b, direction: 'ingress' });
    s.rule({ subject: s.c, direction: 'ingress' });
  };

  it('a name stands for the ports that the destination calls so, and each may call another so', () => {
    openIngress();
    egress(NAME.HTTP);
    s.portNames(s.b, TCP, 8080, NAME.HTTP);
    s.portNames(s.b, TCP, 8081, NAME.HTTP);
    s.portNames(s.c, TCP, 9090, NAME.HTTP);
    s.portNames(s.c, TCP, 8080, NAME.METRICS);
    expect([to(8080), to(8081), to(9090), to(80)]).toEqual([
      'NONE',
      'NONE',
      'POLICY_EGRESS',
      'POLICY_EGRESS',
    ]);
    expect([to(9090, 'tcp', s.c), to(8080, 'tcp', s.c)]).toEqual(['NONE', 'POLICY_EGRESS']);
  });

  it("the sender's own names say nothing about where it sends", () => {
    openIngress();
    egress(NAME.HTTP);
    s.portNames(s.a, TCP, 8080, NAME.HTTP);
    expect(to(8080)).toBe('POLICY_EGRESS');
  });

  it("for what comes in, the receiver's own names count", () => {
    s.rule({ subject: s.a, direction: 'egress' });
    s.rule({ subject: s.b, direction: 'ingress', protocol: TCP, portName: NAME.HTTP });
    s.portNames(s.a, TCP, 80, NAME.HTTP);
    s.portNames(s.b, TCP, 8080, NAME.HTTP);
    expect([to(8080), to(80)]).toEqual(['NONE', 'POLICY_INGRESS']);
    const receive = (port: number) =>
      s.receive(s.b, incoming(s.b, WORLD[family]).tcp({ destinationPort: port }), UPLINK).reason;
    expect([receive(8080), receive(80)]).toEqual(['NONE', 'POLICY_INGRESS']);
  });

  it('a name is of a protocol', () => {
    openIngress();
    egress(NAME.DNS);
    s.portNames(s.b, UDP, 53, NAME.DNS);
    expect([to(53), to(53, 'udp')]).toEqual(['POLICY_EGRESS', 'POLICY_EGRESS']);
    egress(NAME.DNS, UDP);
    expect([to(53), to(53, 'udp')]).toEqual(['POLICY_EGRESS', 'NONE']);
  });

  it('each of the names of a port counts', () => {
    openIngress();
    s.portNames(s.b, TCP, 8080, NAME.HTTP, NAME.METRICS, NAME.DNS, NAME.OTHER);
    for (const name of [NAME.HTTP, NAME.METRICS, NAME.DNS, NAME.OTHER]) {
      s.programs.policy.clear();
      openIngress();
      egress(name);
      expect([name, to(8080)]).toEqual([name, 'NONE']);
    }
    s.programs.policy.clear();
    openIngress();
    egress(NAME.FIFTH);
    expect(to(8080)).toBe('POLICY_EGRESS');
  });

  it('the number of a name is no number of a port', () => {
    openIngress();
    s.portNames(s.b, TCP, 8080, 80);
    egress(80);
    expect([to(80), to(8080)]).toEqual(['POLICY_EGRESS', 'NONE']);
  });

  it('the node and the world have no names', () => {
    egress(NAME.HTTP);
    // An endpoint of the number 0 does not exist: this must never be found.
    s.programs.portNames.set(
      { endpointId: 0, protocol: TCP, port: 80 },
      { key: { endpointId: 0, protocol: TCP, port: 80 }, name: [NAME.HTTP, 0, 0, 0] },
    );
    for (const address of [NODE[family], GATEWAY[family], WORLD[family]]) {
      expect([address, send(address)]).toEqual([address, 'POLICY_EGRESS']);
    }
  });

  it('a rule by name competes with those by number', () => {
    openIngress();
    s.portNames(s.b, TCP, 8080, NAME.HTTP);
    s.rule({ subject: s.a, direction: 'egress', protocol: TCP, port: 8080, precedence: 3 });
    s.rule({
      subject: s.a,
      direction: 'egress',
      protocol: TCP,
      portName: NAME.HTTP,
      precedence: 3,
      verdict: 'deny',
    });
    expect(to(8080)).toBe('POLICY_EGRESS_DENY');
  });
});
