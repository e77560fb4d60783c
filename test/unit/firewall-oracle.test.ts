import fc from 'fast-check';
import { expect, test } from 'vitest';
import { compile } from '../../src/firewall/compile.js';
import { PolicyEngine } from '../../src/firewall/engine.js';
import { decide, type PacketPeer, RuleTable } from '../../src/firewall/lookup.js';
import { DIRECTIONS } from '../../src/firewall/types.js';
import { parsePolicy } from '../../src/model/policy.js';
import { interestingPorts, world } from '../support/policy-arbitraries.js';
import {
  type OraclePacket,
  type OracleWorld,
  oracleAllows,
  oracleSelectedBy,
} from '../support/policy-oracle.js';

const PROTOCOLS = [1, 6, 17, 132];

function input(of: OracleWorld) {
  return { ...of, policies: of.policies.map((policy) => parsePolicy(policy)) };
}

function peerOf(peer: OraclePacket['peer']): PacketPeer {
  const address = '198.18.0.1';
  return typeof peer === 'string'
    ? { kind: peer, address }
    : { kind: 'identity', id: peer.id, network_id: peer.network_id, address };
}

test('the compiled rules decide every packet as the definition of NetworkPolicy and of the modes does', () => {
  let allowed = 0;
  let denied = 0;
  fc.assert(
    fc.property(world, fc.integer({ min: 0, max: 65535 }), (of, extra) => {
      const table = RuleTable.from(compile(input(of)));
      const ports = [...interestingPorts(of.policies), extra];
      for (const subject of of.identities) {
        for (const direction of DIRECTIONS) {
          for (const peer of [...of.identities, 'host' as const, 'world' as const]) {
            for (const protocol of PROTOCOLS) {
              for (const port of protocol === 1 ? [0] : ports) {
                const wanted = oracleAllows(of, { subject, direction, peer, protocol, port });
                const packet = { subject: subject.id, direction, peer: peerOf(peer), protocol, port };
                const { verdict, entry } = decide(table, packet, { audit: false });
                if ((verdict === 'allow') !== wanted || (wanted && entry === undefined)) {
                  throw new Error(
                    `${JSON.stringify(packet)}: ${verdict}, wanted ${wanted ? 'allow' : 'deny'}`,
                  );
                }
                if (wanted) allowed += 1;
                else denied += 1;
              }
            }
          }
        }
      }
    }),
    { numRuns: 150 },
  );
  // A generator that allows or denies nearly everything would prove little.
  expect(allowed / (allowed + denied)).toBeGreaterThan(0.1);
  expect(denied / (allowed + denied)).toBeGreaterThan(0.1);
});

test('selectedBy names exactly the policies that isolate the identity', () => {
  fc.assert(
    fc.property(world, (of) => {
      const engine = new PolicyEngine();
      for (const network of of.networks) engine.upsertNetwork(network);
      for (const policy of input(of).policies) engine.upsertPolicy(policy);
      for (const identity of of.identities) engine.upsertIdentity(identity);
      for (const identity of of.identities) {
        for (const direction of DIRECTIONS) {
          const wanted = oracleSelectedBy(of, identity, direction)
            .map(({ metadata }) => `${metadata.namespace ?? 'default'}/${metadata.name}`)
            .sort();
          const got = engine.selectedBy(identity.id, direction);
          expect(got.map(({ namespace, name }) => `${namespace}/${name}`)).toEqual(wanted);
        }
      }
    }),
  );
});
