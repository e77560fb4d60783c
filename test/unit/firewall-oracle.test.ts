import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PolicyEngine } from '../../src/firewall/engine.js';
import { DIRECTIONS } from '../../src/firewall/types.js';
import { parsePolicy } from '../../src/model/policy.js';
import { populated, world } from '../support/policy-arbitraries.js';
import { checkCompiled, compileWorld, Tally } from '../support/policy-compiled.js';
import { drawFlows } from '../support/policy-flows.js';
import { isAudited, oracleSelectedBy } from '../support/policy-oracle.js';

const SETS = 150;
const PACKETS = 60;
const seed = fc.noShrink(fc.integer());

function check(parameters: { numRuns: number; seed?: number }): Tally {
  const tally = new Tally();
  fc.assert(
    fc.property(populated, seed, (of, drawn) => {
      checkCompiled(of, compileWorld(of), drawFlows(of, drawn, PACKETS), tally);
    }),
    parameters,
  );
  return tally;
}

test('the compiled rules decide every packet as the definitions of the policies and modes do, and name a rule that did', () => {
  check({ numRuns: SETS });
});

test('among random packets are enough of every kind of decision', () => {
  // Always the same ones: how often chance brings a kind about must not decide whether this passes.
  const tally = check({ numRuns: SETS, seed: 1 });
  for (const [often, least] of [
    ['enforced allow', 0.1],
    ['enforced deny', 0.1],
    ['enforced allow by cluster', 0.03],
    ['enforced deny by cluster', 0.02],
    ['enforced allow by policy', 0.03],
    ['enforced allow by isolation', 0.03],
    ['enforced allow by host', 0.005],
    ['enforced deny by nobody', 0.03],
  ] as const) {
    expect([often, tally.share(often, 'enforced') > least]).toEqual([often, true]);
  }
});

test('selectedBy names exactly the policies that isolate the identity', () => {
  fc.assert(
    fc.property(world, fc.boolean(), (of, audit) => {
      const engine = new PolicyEngine({ node: of.node });
      for (const network of of.networks) engine.upsertNetwork(network);
      for (const policy of of.policies) engine.upsertPolicy(parsePolicy(policy));
      for (const identity of of.identities) engine.upsertIdentity(identity);
      for (const identity of of.identities) {
        for (const direction of DIRECTIONS) {
          const policies = of.policies.filter((policy) => audit || !isAudited(policy));
          const wanted = oracleSelectedBy(policies, identity, direction)
            .map(({ metadata }) => `${metadata.namespace ?? 'default'}/${metadata.name}`)
            .sort();
          const got = engine.inForce.selectedBy(identity.id, direction, { audit });
          expect(got.map(({ namespace, name }) => `${namespace}/${name}`)).toEqual(wanted);
        }
      }
    }),
  );
});
