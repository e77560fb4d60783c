/**
 * Who exists when the programs run: two networks with endpoints, the node's own addresses, and rules. A test says
 * only what differs.
 */
import { writeFileSync } from 'node:fs';
import { DenyKeyBits, EndpointFlags, InboundFlags, PrefixKind } from '../../src/datapath/abi/generated.js';
import { Rtnl } from '../../src/native/net.js';
import { SERVICE, type TestFrontend, writeFrontend } from './frontends.js';
import type { Outcome } from './outcome.js';
import { mappedAddress, type Packet } from './packet.js';
import type { Programs } from './programs.js';
import {
  changeSubject,
  emptySlot,
  type MapRule,
  writeIsolation,
  writePortNames,
  writeRange,
  writeRangeLength,
  writeRule,
} from './rule-maps.js';
import { LIMIT_FLAG, type LimitedDirection, writeLimit } from './scenario-limits.js';
import {
  endpointOf,
  endpointValue,
  type Family,
  GATEWAY,
  mappedOrNone,
  NETWORK,
  NODE,
  PREFIX_LENGTH,
  type TestEndpoint,
} from './scenario-parties.js';
import { type TestUplink, writeUplinks } from './scenario-uplinks.js';

/** As it is in the maps, with endpoints in place of their identities. */
export type Rule = Omit<MapRule, 'subject' | 'peer'> & {
  subject: TestEndpoint | number;
  /** An endpoint's identity, or a class of enum policy_peer. Default: any. */
  peer?: TestEndpoint | number;
};

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
      programs.bandwidth,
      programs.prefixes,
      programs.policy,
      programs.subjects,
      programs.ranges,
      programs.portNames,
      programs.conntrack,
      programs.fragments,
      programs.flowCounts,
      programs.eventLimits,
      programs.nat,
      programs.frontends,
      programs.affinity,
      programs.sourceAddresses,
      programs.deny,
    ]) {
      map.clear();
    }
    programs.forget();
    programs.control.set(0, { policyEpoch: 2 });
    this.inbound(0);
    this.uplink({});
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
    const family = address.includes(':') ? 6 : 4;
    const prefixLength = family === 6 ? length : 96 + length;
    const gateway = GATEWAY[family].replace('7', `${networkId}`);
    this.programs.prefixes.set(
      { prefixLength, address: mappedAddress(address) },
      { kind, networkId, gateway: mappedOrNone(kind === PrefixKind.NETWORK ? gateway : undefined) },
    );
  }

  /** The node's ways out and its addresses there; all leaves by the first, unless there is a router. */
  uplinks(uplinks: readonly TestUplink[], router = 0): void {
    writeUplinks(this.programs, uplinks, router);
  }

  /** Its routes choose among them: there are none. */
  routed(uplinks: readonly TestUplink[]): void {
    this.programs.inside(() => {
      using rtnl = Rtnl.open();
      const router = rtnl.links().find(({ index }) => index === this.spare.at(-1));
      if (router === undefined) throw new Error('there is no device to spare');
      for (const family of ['ipv4', 'ipv6'])
        writeFileSync(`/proc/sys/net/${family}/conf/${router.name}/forwarding`, '1');
      this.uplinks(uplinks, router.index);
    });
  }

  /** Its one way out; without an interface there is none. */
  uplink(uplink: TestUplink): void {
    this.uplinks([uplink]);
  }

  /** The node has an uplink, by which the endpoints reach the world under its address NODE. */
  masquerade(...endpoints: TestEndpoint[]): void {
    this.uplink({ ifindex: this.outside, ip4: NODE[4], ip6: NODE[6] });
    for (const endpoint of endpoints) this.add({ ...endpoint, flags: EndpointFlags.MASQUERADE });
  }

  /** The endpoint's network leaves under an address of its own; of a family that is not given, under the node's. */
  sourceAddress(endpoint: TestEndpoint, own: { 4?: string; 6?: string }): void {
    const { networkId } = endpoint;
    const [ip4, ip6] = [mappedOrNone(own[4]), mappedOrNone(own[6])];
    this.programs.sourceAddresses.set(networkId, { networkId, ip4, ip6 });
    this.add({ ...endpoint, flags: EndpointFlags.MASQUERADE | EndpointFlags.SOURCE_ADDRESS });
  }

  /** A port that leads to containers; those of SERVICE belong to a service. */
  frontend(frontend: TestFrontend): void {
    writeFrontend(this.programs, frontend);
    const { address } = frontend;
    if (Object.values<string>(SERVICE).includes(address))
      this.prefix(address, address.includes(':') ? 128 : 32, PrefixKind.SERVICE, 0);
  }

  /** enum inbound_flags. */
  inbound(flags: number): void {
    this.programs.inbound.set(0, { flags });
  }

  /** Puts ranges on the deny list. */
  denyFrom(...cidrs: string[]): void {
    for (const cidr of cidrs) {
      const [address = '', length] = cidr.split('/');
      const family = address.includes(':') ? 6 : 4;
      const prefixLength = DenyKeyBits.BITS + (family === 6 ? 0 : 96) + Number(length);
      this.programs.deny.set({ prefixLength, family, address: mappedAddress(address) }, 1);
    }
    this.inbound((this.programs.inbound.get(0)?.flags ?? 0) | InboundFlags.DENIES);
  }

  /** A real device in the place of the uplink. */
  get outside(): number {
    return this.spare[0] ?? 0;
  }

  add(endpoint: TestEndpoint): void {
    const { id, ifindex, networkId, ip4, ip6 } = endpoint;
    this.programs.endpoints.set(ifindex, endpointValue(endpoint));
    for (const ip of [ip4, ip6]) {
      if (ip) {
        this.programs.addresses.set({ networkId, address: mappedAddress(ip) }, { ifindex, endpointId: id });
      }
    }
  }

  /** A limit of bandwidth so low that nothing is earned while a test runs; in bytes, what passes at once and may wait. */
  limit(
    endpoint: TestEndpoint,
    direction: LimitedDirection,
    bytes: { burst: number; queue?: number; packets?: number },
  ): void {
    this.add({ ...endpoint, flags: LIMIT_FLAG[direction] });
    writeLimit(this.programs, endpoint, direction, bytes);
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
  rule({ subject, peer, ...rule }: Rule, slot = this.epoch & 1): void {
    const other = peer === undefined ? {} : { peer: identityOf(peer) };
    writeRule(this.programs, slot, { ...rule, ...other, subject: identityOf(subject) });
  }

  /** As NetworkPolicy does, or one that is only audited. */
  isolate(subject: TestEndpoint, direction: Rule['direction'], audit = false, slot = this.epoch & 1): void {
    writeIsolation(this.programs, slot, { subject: subject.identity, direction, audit });
  }

  /** Rules of the subject name that range; rangePeer(cidrClass) is who is in it and in none that is narrower. */
  range(
    subject: TestEndpoint,
    direction: Rule['direction'],
    cidr: string,
    cidrClass: number,
    slot = this.epoch & 1,
  ): void {
    writeRange(this.programs, slot, { subject: subject.identity, direction, cidr, cidrClass });
  }

  /** The subject tells that it has ranges of that length, IPv4 in the mapped form. */
  rangeLength(
    subject: TestEndpoint,
    direction: Rule['direction'],
    family: Family,
    prefixLength: number,
    slot = this.epoch & 1,
  ): void {
    writeRangeLength(this.programs, slot, { subject: subject.identity, direction, family, prefixLength });
  }

  /** What an endpoint calls one of its ports: numbers of names. */
  portNames({ id }: TestEndpoint, protocol: number, port: number, ...names: number[]): void {
    writePortNames(this.programs, { endpointId: id, protocol, port }, names);
  }

  /** The subject's policy is there, if only with the rules that it has already. */
  computed(who: TestEndpoint | number, slot = this.epoch & 1): void {
    changeSubject(this.programs, slot, identityOf(who), (rules) => rules);
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
    emptySlot(this.programs, slot);
    for (const endpoint of [this.a, this.b, this.c]) this.computed(endpoint, slot);
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

  /** What comes in by the uplink and belongs to a container. */
  answer(frame: Packet | Uint8Array): Outcome {
    return this.programs.run('from_uplink', frame, { ifindex: this.outside });
  }

  /** The same in the uplink's driver. */
  arrive(frame: Packet | Uint8Array): Outcome {
    return this.programs.run('uplink_xdp', frame, { ifindex: this.outside });
  }

  /** What reaches a container through the host's stack; from the host itself unless an interface is named. */
  receive(to: TestEndpoint, frame: Packet | Uint8Array, ingressIfindex = 0): Outcome {
    return this.programs.run('to_container', frame, { ifindex: to.ifindex, ingressIfindex });
  }
}

function identityOf(who: TestEndpoint | number): number {
  return typeof who === 'number' ? who : who.identity;
}
