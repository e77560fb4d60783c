/** What is asked of a few peers costs those alone, and is answered as the whole of the rules would. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { PolicyEngine } from '../../src/firewall/engine.js';
import { tableAbout } from '../../src/firewall/excerpt.js';
import { decide, type PacketPeer, RuleTable } from '../../src/firewall/lookup.js';
import { rangeOf } from '../../src/firewall/ranges.js';
import { type Address, cidrContains, formatAddress, parseCidr } from '../../src/model/address.js';
import type { Endpoint } from '../../src/model/endpoint.js';
import { PROTOCOL_NUMBERS, type Protocol } from '../../src/model/names.js';
import type { Network } from '../../src/model/network.js';
import { parsePolicy } from '../../src/model/policy.js';
import type { Reader } from '../../src/store/store.js';
import { reachableNow } from '../../src/vnet/policy/reachability.js';
import { type Populated, populated } from '../support/policy-arbitraries.js';
import { drawFlows, sideOf } from '../support/policy-flows.js';
import type { OraclePacket } from '../support/policy-oracle.js';

const seed = fc.noShrink(fc.integer());

function engineOf({ node, networks, namespaces, identities, policies }: Populated): PolicyEngine {
  const engine = new PolicyEngine({ node });
  for (const network of networks) engine.upsertNetwork(network);
  for (const namespace of namespaces) engine.setNamespace(namespace);
  for (const identity of identities) engine.upsertIdentity(identity);
  for (const policy of policies) engine.upsertPolicy(parsePolicy(policy));
  return engine;
}

function peerOf({ peer, peerAddress: address }: OraclePacket): PacketPeer {
  if (typeof peer === 'string') return { kind: peer, address };
  const { id, network_id } = peer.identity;
  return { kind: 'identity', id, network_id, address };
}

it('a packet is judged by the rules about its peer as by all of them', () => {
  let decided = 0;
  fc.assert(
    fc.property(populated, seed, (world, drawn) => {
      const engine = engineOf(world);
      const whole = RuleTable.from(engine.snapshot());
      for (const flow of drawFlows(world, drawn, 40)) {
        for (const direction of ['egress', 'ingress'] as const) {
          const side = sideOf(flow, direction);
          if (side === undefined) continue;
          const subject = side.subject.identity.id;
          const peer = peerOf(side);
          const { protocol, port } = side;
          const packet = { subject, direction, peer, protocol, port };
          const part = tableAbout(engine.inForce.view(subject), direction, peer);
          for (const audit of [false, true]) {
            const wanted = decide(whole, packet, { audit });
            expect(decide(part, packet, { audit })).toEqual(wanted);
            if (wanted.entry !== undefined) decided += 1;
          }
        }
      }
    }),
    { numRuns: 60 },
  );
  expect(decided).toBeGreaterThan(100);
});

it('who has no rules is judged by none', () => {
  const peer: PacketPeer = { kind: 'world', address: '192.0.2.1' };
  const table = tableAbout(undefined, 'ingress', peer);
  const packet = { subject: 256, direction: 'ingress', peer, protocol: 6, port: 80 } as const;
  expect(decide(table, packet, { audit: false })).toEqual({ verdict: 'deny', isDefaultDeny: false });
});

const CIDRS = ['10.1.0.0/16', '10.2.0.0/16'];
const reader = {
  list: () => CIDRS.map((cidr, index): Partial<Network> => ({ name: `n${index}`, cidr })),
} as unknown as Reader;

/** As its definition says: anybody, or somebody at the begin of a range that rules name and no network has. */
function isReachable(engine: PolicyEngine, identity: number, protocol: Protocol, port: number): boolean {
  const rules = engine.rulesOf(identity);
  const table = RuleTable.from(rules);
  const named = rules.cidrs
    .filter(({ direction }) => direction === 'ingress')
    .map(({ cidr }): Address => ({ family: rangeOf(cidr).family, value: rangeOf(cidr).base }))
    .filter((address) => !CIDRS.some((cidr) => cidrContains(parseCidr(cidr), address)));
  return ['192.0.2.1', '2001:db8::1', ...named.map(formatAddress)].some((address) => {
    const peer: PacketPeer = { kind: 'world', address };
    const number = PROTOCOL_NUMBERS[protocol];
    const packet = { subject: identity, direction: 'ingress', peer, protocol: number, port } as const;
    return decide(table, packet, { audit: false }).verdict === 'allow';
  });
}

it('somebody outside reaches a port when anybody does, or somebody of a range that rules name', () => {
  const seen = { true: 0, false: 0 };
  fc.assert(
    fc.property(populated, (world) => {
      const engine = engineOf(world);
      const now = reachableNow(engine.inForce, reader);
      for (const { id, network_id } of world.identities) {
        const addresses = { ip_address: '10.1.0.2', ip6_address: 'fd00::2' };
        const endpoint = { identity: id, network_id, ports: [], ...addresses } as unknown as Endpoint;
        for (const protocol of ['TCP', 'UDP'] as const) {
          for (const port of [80, 443, 32768]) {
            const wanted = isReachable(engine, id, protocol, port);
            expect([id, protocol, port, now(endpoint, protocol, port)]).toEqual([id, protocol, port, wanted]);
            seen[`${wanted}`] += 1;
          }
        }
      }
    }),
    { numRuns: 100 },
  );
  expect(Math.min(seen.true, seen.false)).toBeGreaterThan(50);
});

it('of a family that the container has no address of nobody reaches it', () => {
  const engine = new PolicyEngine();
  engine.upsertNetwork({ id: 1, name: 'n', isolation_mode: 'full', peers: [] });
  engine.upsertIdentity({ id: 256, network_id: 1, namespace: 'default', labels: {} });
  const from = [{ ipBlock: { cidr: '2001:db8:1::/48' } }];
  engine.upsertPolicy(
    parsePolicy({
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name: 'p' },
      spec: { podSelector: {}, ingress: [{ from }] },
    }),
  );
  const endpoint = { identity: 256, network_id: 1, ports: [], ip_address: '10.1.0.2' } as unknown as Endpoint;
  const both = { ...endpoint, ip6_address: 'fd00::2' };
  const now = reachableNow(engine.inForce, reader);
  expect([now(endpoint, 'TCP', 80), now(both, 'TCP', 80)]).toEqual([false, true]);
});
