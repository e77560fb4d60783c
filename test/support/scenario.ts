/**
 * Who exists when the programs run: two networks with endpoints, the node's own addresses, and rules. A test says
 * only what differs.
 */
import {
  Direction,
  type Endpoint,
  type PolicyDecision,
  PrefixKind,
  type SubjectSlot,
  Verdict,
} from '../../src/datapath/abi/generated.js';
import { addressBytes, macBytes, mappedAddress, type Packet, packet } from './packet.js';
import type { Outcome, Programs } from './programs.js';

export type Family = 4 | 6;
export const FAMILIES = [4, 6] as const;

export interface TestEndpoint {
  readonly id: number;
  readonly ifindex: number;
  readonly networkId: number;
  readonly identity: number;
  readonly mac: string;
  readonly gatewayMac: string;
  readonly ip4?: string;
  readonly ip6?: string;
  readonly linkLocal?: string;
  readonly flags?: number;
}

export const NETWORK = { BLUE: 7, RED: 8 } as const;
export const PREFIX_LENGTH = { 4: 24, 6: 64 } as const;

/** Addresses by family. */
export const GATEWAY = { 4: '10.7.0.1', 6: 'fd00:7::1' } as const;
/** In the first network, and nobody's. */
export const NOBODY = { 4: '10.7.0.77', 6: 'fd00:7::77' } as const;
/** The node's, in no network. */
export const NODE = { 4: '10.99.0.5', 6: 'fd00:99::5' } as const;
/** Outside. */
export const WORLD = { 4: '198.18.0.9', 6: 'fd99::9' } as const;
export const WORLD_ROUTER = { 4: '198.19.0.1', 6: 'fd98::1' } as const;
/** An interface that is no endpoint's, as the uplink. */
export const UPLINK = 9999;

export interface Rule {
  subject: TestEndpoint | number;
  direction: 'egress' | 'ingress';
  /** An endpoint's identity, or a class of enum policy_peer. Default: any. */
  peer?: TestEndpoint | number;
  protocol?: number;
  port?: number;
  portBits?: number;
  verdict?: 'allow' | 'deny';
  precedence?: number;
  /** Cookie. */
  rule?: number;
}

const NO_DECISION: PolicyDecision = { rule: 0, precedence: 0, verdict: Verdict.NONE };
const NO_SLOT: SubjectSlot = { portBits: [0, 0], present: 0 };

/** Blue: a, b; red: c; and `spare` devices without an endpoint. */
export class Scenario {
  readonly programs: Programs;
  readonly a: TestEndpoint;
  readonly b: TestEndpoint;
  readonly c: TestEndpoint;
  readonly spare: readonly number[];

  constructor(programs: Programs) {
    this.programs = programs;
    const [first = 0, second = 0, third = 0, ...spare] = programs.ifindexes;
    this.a = endpointOf(11, first, NETWORK.BLUE, 301);
    this.b = endpointOf(12, second, NETWORK.BLUE, 302);
    this.c = endpointOf(13, third, NETWORK.RED, 303);
    this.spare = spare;
    this.reset();
  }

  /** As after the start: no flow, no rule, nobody's policy computed but everyone's empty. */
  reset(): void {
    const { programs } = this;
    for (const map of [
      programs.endpoints,
      programs.addresses,
      programs.prefixes,
      programs.policy,
      programs.subjects,
      programs.conntrack,
      programs.fragments,
      programs.flowCounts,
      programs.eventLimits,
    ]) {
      map.clear();
    }
    programs.forget();
    programs.control.set(0, { policyEpoch: 2 });
    this.prefix('10.7.0.0', PREFIX_LENGTH[4], PrefixKind.NETWORK, NETWORK.BLUE);
    this.prefix('fd00:7::', PREFIX_LENGTH[6], PrefixKind.NETWORK, NETWORK.BLUE);
    this.prefix('10.8.0.0', PREFIX_LENGTH[4], PrefixKind.NETWORK, NETWORK.RED);
    this.prefix('fd00:8::', PREFIX_LENGTH[6], PrefixKind.NETWORK, NETWORK.RED);
    for (const host of [GATEWAY[4], GATEWAY[6], NODE[4], NODE[6], '10.8.0.1', 'fd00:8::1']) {
      this.prefix(host, host.includes(':') ? 128 : 32, PrefixKind.HOST, 0);
    }
    for (const endpoint of [this.a, this.b, this.c]) {
      this.add(endpoint);
      this.computed(endpoint);
    }
  }

  prefix(address: string, length: number, kind: number, networkId: number): void {
    const prefixLength = address.includes(':') ? length : 96 + length;
    this.programs.prefixes.set({ prefixLength, address: mappedAddress(address) }, { kind, networkId });
  }

  add(endpoint: TestEndpoint): void {
    const { id, ifindex, networkId, ip4, ip6 } = endpoint;
    this.programs.endpoints.set(ifindex, mapValue(endpoint));
    for (const ip of [ip4, ip6]) {
      if (ip) {
        this.programs.addresses.set({ networkId, address: mappedAddress(ip) }, { ifindex, endpointId: id });
      }
    }
  }

  remove(endpoint: TestEndpoint): void {
    const { networkId, ip4, ip6 } = endpoint;
    this.programs.endpoints.delete(endpoint.ifindex);
    for (const ip of [ip4, ip6]) {
      if (ip) this.programs.addresses.delete({ networkId, address: mappedAddress(ip) });
    }
  }

  get epoch(): number {
    return this.programs.control.get(0)?.policyEpoch ?? 0;
  }

  /** Writes rules into the slot that counts (or another), as the daemon does before anyone asks. */
  rule(rule: Rule, slot = this.epoch & 1): void {
    const subject = identityOf(rule.subject);
    const direction = rule.direction === 'egress' ? Direction.EGRESS : Direction.INGRESS;
    const { protocol = 0, port = 0, portBits = port ? 16 : 0, precedence = 100 } = rule;
    const peer = rule.peer === undefined ? 0 : identityOf(rule.peer);
    const key = { subject, peer, direction, protocol, portBits, port };
    const verdict = rule.verdict === 'deny' ? Verdict.DENY : Verdict.ALLOW;
    const value = this.programs.policy.get(key) ?? { slot: [NO_DECISION, NO_DECISION] };
    const decision = { rule: rule.rule ?? 0, precedence, verdict };
    this.programs.policy.set(key, { key, ...withSlot<PolicyDecision>(value, slot, decision) });
    this.computed(subject, slot, direction, portBits);
  }

  /** The subject's policy is there, and (optionally) has a key with that many port bits. */
  computed(
    who: TestEndpoint | number,
    slot = this.epoch & 1,
    direction: number = Direction.EGRESS,
    bits?: number,
  ): void {
    const identity = identityOf(who);
    const value = this.programs.subjects.get({ identity }) ?? { slot: [NO_SLOT, NO_SLOT] };
    const { portBits } = value.slot[slot & 1] ?? NO_SLOT;
    const [egress, ingress] = portBits;
    const bit = bits === undefined ? 0 : 1 << bits;
    const next: [number, number] =
      direction === Direction.EGRESS ? [egress | bit, ingress] : [egress, ingress | bit];
    this.programs.subjects.set({ identity }, withSlot(value, slot, { portBits: next, present: 1 }));
  }

  /** Lets everyone send and receive everything. */
  allowAll(slot = this.epoch & 1): void {
    for (const subject of [this.a, this.b, this.c]) {
      this.rule({ subject, direction: 'egress', rule: 1000 + subject.id }, slot);
      this.rule({ subject, direction: 'ingress', rule: 2000 + subject.id }, slot);
    }
  }

  /** A new generation of rules, empty but for what `write` puts into its slot; then the epoch advances. */
  newEpoch(write: (slot: number) => void): void {
    const next = this.epoch + 1;
    const slot = next & 1;
    for (const { key, value } of this.programs.policy.entries()) {
      this.programs.policy.set(key, { key, ...withSlot<PolicyDecision>(value, slot, NO_DECISION) });
    }
    for (const endpoint of [this.a, this.b, this.c]) {
      const value = this.programs.subjects.get({ identity: endpoint.identity }) ?? {
        slot: [NO_SLOT, NO_SLOT],
      };
      const empty = withSlot<SubjectSlot>(value, slot, { portBits: [0, 0], present: 1 });
      this.programs.subjects.set({ identity: endpoint.identity }, empty);
    }
    write(slot);
    this.programs.control.set(0, { policyEpoch: next });
  }

  /** Lets the time of every flow run out. */
  expireFlows(): void {
    for (const { key, value } of this.programs.conntrack.entries()) {
      this.programs.conntrack.set(key, { ...value, expiresNs: 1n });
    }
  }

  /** What a container sends. */
  send(from: TestEndpoint, frame: Packet | Uint8Array): Outcome {
    return this.programs.run('from_container', frame, { ifindex: from.ifindex });
  }

  /** What reaches a container through the host's stack; from the host itself unless an interface is named. */
  receive(to: TestEndpoint, frame: Packet | Uint8Array, ingressIfindex = 0): Outcome {
    return this.programs.run('to_container', frame, { ifindex: to.ifindex, ingressIfindex });
  }
}

/** An IP packet as the endpoint sends it to an address. */
export function outgoing(
  from: TestEndpoint,
  destination: string,
  fields: { ttl?: number; protocol?: number } = {},
) {
  const source = addressOf(from, destination.includes(':') ? 6 : 4);
  return packet()
    .ethernet({ source: from.mac, destination: from.gatewayMac })
    .ip({ source, destination, ...fields });
}

/** An IP packet as the host hands it to the endpoint. */
export function incoming(to: TestEndpoint, source: string, fields: { ttl?: number; protocol?: number } = {}) {
  const destination = addressOf(to, source.includes(':') ? 6 : 4);
  return packet()
    .ethernet({ source: to.gatewayMac, destination: to.mac })
    .ip({ source, destination, ...fields });
}

export function addressOf(endpoint: TestEndpoint, family: Family): string {
  const address = family === 4 ? endpoint.ip4 : endpoint.ip6;
  if (!address) throw new Error(`endpoint ${endpoint.id} has no IPv${family}`);
  return address;
}

/** An echo message of the family; a reply when asked for. */
export function echo(base: Packet, family: Family, id: number, reply = false): Packet {
  if (family === 4) return base.icmp({ type: reply ? 0 : 8, id, sequence: 1 }).payload(32);
  return base.icmpv6({ type: reply ? 129 : 128, id, sequence: 1 }).payload(32);
}

export function endpointOf(id: number, ifindex: number, networkId: number, identity: number): TestEndpoint {
  const hex = id.toString(16).padStart(2, '0');
  return {
    id,
    ifindex,
    networkId,
    identity,
    mac: `02:00:00:00:00:${hex}`,
    gatewayMac: `02:ff:00:00:00:0${networkId}`,
    ip4: `10.${networkId}.0.${id}`,
    ip6: `fd00:${networkId}::${hex}`,
    linkLocal: `fe80::ff:fe00:${hex}`,
  };
}

function mapValue(endpoint: TestEndpoint): Endpoint {
  const { ip4, ip6, linkLocal, flags = 0 } = endpoint;
  return {
    ifindex: endpoint.ifindex,
    id: endpoint.id,
    networkId: endpoint.networkId,
    identity: endpoint.identity,
    ip4: ip4 ? mappedAddress(ip4) : new Uint8Array(16),
    ip6: ip6 ? addressBytes(ip6) : new Uint8Array(16),
    linkLocal: linkLocal && ip6 ? addressBytes(linkLocal) : new Uint8Array(16),
    mac: macBytes(endpoint.mac),
    gatewayMac: macBytes(endpoint.gatewayMac),
    ip4PrefixLength: ip4 ? PREFIX_LENGTH[4] : 0,
    ip6PrefixLength: ip6 ? PREFIX_LENGTH[6] : 0,
    flags,
  };
}

function identityOf(who: TestEndpoint | number): number {
  return typeof who === 'number' ? who : who.identity;
}

function withSlot<T>(value: { slot: [T, T] }, slot: number, content: T): { slot: [T, T] } {
  return { slot: slot & 1 ? [value.slot[0], content] : [content, value.slot[1]] };
}
