/** What is asked while a change is worked out is answered of what is in force: as before it, never of something between. */
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { PolicyEngine } from '../../src/firewall/engine.js';
import type { InForce } from '../../src/firewall/in-force.js';
import { LANES } from '../../src/firewall/lanes.js';
import { compiling } from '../../src/firewall/ledger.js';
import { formatRuleKey } from '../../src/firewall/lookup.js';
import { Past } from '../../src/firewall/past.js';
import type { PeerKey } from '../../src/firewall/peer-key.js';
import { formatRuleRef } from '../../src/firewall/rule-ref.js';
import type { Kept } from '../../src/firewall/subject-view.js';
import { type CompiledPolicy, DIRECTIONS, type PolicyRef } from '../../src/firewall/types.js';
import { AppError } from '../../src/model/errors.js';
import { parsePolicy, policyRef } from '../../src/model/policy.js';
import { finish, type Steps } from '../../src/work/steps.js';
import * as arbitrary from '../support/policy-arbitraries.js';
import type { OracleWorld } from '../support/policy-oracle-types.js';

type Change = (engine: PolicyEngine) => Steps;

const change: fc.Arbitrary<Change> = fc.oneof(
  {
    weight: 4,
    arbitrary: arbitrary.policy.map(
      (policy): Change =>
        (engine) =>
          engine.upsertingPolicy(parsePolicy(policy)),
    ),
  },
  {
    weight: 2,
    arbitrary: arbitrary.policy.map(
      (policy): Change =>
        (engine) =>
          engine.removingPolicy(policyRef(parsePolicy(policy))),
    ),
  },
  {
    weight: 2,
    arbitrary: arbitrary.identity.map(
      (identity): Change =>
        (engine) =>
          engine.upsertingIdentity(identity),
    ),
  },
  {
    weight: 2,
    arbitrary: arbitrary.identityId.map(
      (id): Change =>
        (engine) =>
          engine.removingIdentity(id),
    ),
  },
  {
    weight: 1,
    arbitrary: arbitrary.namespace.map(
      (namespace): Change =>
        (engine) =>
          engine.settingNamespace(namespace),
    ),
  },
  {
    weight: 1,
    arbitrary: arbitrary.network.map(
      (network): Change =>
        (engine) =>
          engine.upsertingNetwork(network),
    ),
  },
  {
    weight: 2,
    arbitrary: fc.constant<Change>(function* (engine) {
      yield* engine.takingDelta();
    }),
  },
);

/** Identities that are there, that come and that never do. */
const IDENTITIES = [...Array(10).keys()].map((index) => 256 + index);

function engineOf({ networks, namespaces, identities, policies }: OracleWorld): PolicyEngine {
  const engine = new PolicyEngine({ maxSize: 200 });
  for (const network of networks) engine.upsertNetwork(network);
  for (const namespace of namespaces) engine.setNamespace(namespace);
  for (const identity of identities) engine.upsertIdentity(identity);
  for (const policy of policies) ignoring(() => engine.upsertPolicy(parsePolicy(policy)));
  return engine;
}

/** What does not fit or must not be asked has its place among changes, and changes nothing. */
function ignoring(act: () => void): void {
  try {
    act();
  } catch (error) {
    if (!(error instanceof RangeError) && !(error instanceof AppError)) throw error;
  }
}

function canonical({ entries, subjects, cidrs }: CompiledPolicy) {
  return {
    entries: entries.map((one) => `${formatRuleKey(one)} ${formatRuleRef(one.rule)}`).sort(),
    subjects,
    cidrs: cidrs.map(({ direction, cidr }) => `${direction} ${cidr}`).sort(),
  };
}

/** All that can be asked of what is in force. */
function answers(engine: PolicyEngine) {
  return IDENTITIES.map((identity) => {
    const view = engine.inForce.view(identity);
    return {
      rules: canonical(finish(compiling(view === undefined ? [] : [view]))),
      isolated: DIRECTIONS.flatMap((direction) =>
        [false, true].map((audit) => engine.inForce.selectedBy(identity, direction, { audit })),
      ),
    };
  });
}

function now(engine: PolicyEngine) {
  return IDENTITIES.map((identity) => canonical(engine.rulesOf(identity)));
}

it('whatever is changed meanwhile, told or taken back, what is held is as it was, and then as it has become', () => {
  let different = 0;
  fc.assert(
    fc.property(
      arbitrary.world,
      fc.array(change, { minLength: 1, maxLength: 6 }),
      fc.boolean(),
      (world, changes, isTold) => {
        const engine = engineOf(world);
        if (isTold) engine.takeDelta();
        const before = answers(engine);
        {
          using _ = engine.hold();
          for (const one of changes) {
            ignoring(() => {
              for (const steps = one(engine); steps.next().done !== true; ) {
                expect(answers(engine)).toEqual(before);
              }
            });
            expect(answers(engine)).toEqual(before);
          }
        }
        const after = answers(engine);
        expect(after.map(({ rules }) => rules)).toEqual(now(engine));
        if (!isDeepStrictEqual(after, before)) different += 1;
      },
    ),
    { numRuns: 150 },
  );
  expect(different).toBeGreaterThan(20);
});

/** All that can be read of it, of whatever peers. */
function reading(kept: Pick<InForce, 'view'> | Kept, peers: ReadonlySet<PeerKey>) {
  return IDENTITIES.map((identity) => {
    const view = kept.view(identity);
    return {
      state: view?.state,
      ranges: DIRECTIONS.map((direction) => view?.ranges(direction).map(({ range }) => range.text)),
      cells: LANES.map((lane) =>
        [...peers].map((peer) => (view?.hasRules(lane) === true ? [...view.cell(lane, peer)] : [])),
      ),
    };
  });
}

function peersOf(engine: PolicyEngine): PeerKey[] {
  return IDENTITIES.flatMap((identity) => {
    const view = engine.inForce.view(identity);
    return view === undefined ? [] : LANES.flatMap((lane) => [...view.cells(lane)].map(([peer]) => peer));
  });
}

it('who reads in turns reads of one moment, also of one amid a change, and of others other moments', () => {
  let [amid, different] = [0, 0];
  fc.assert(
    fc.property(
      arbitrary.world,
      fc.array(change, { minLength: 2, maxLength: 6 }),
      fc.nat(20),
      (world, changes, begin) => {
        const engine = engineOf(world);
        const peers = new Set(peersOf(engine));
        const readers: { kept: Kept; wanted: unknown }[] = [];
        const enter = () =>
          readers.push({ kept: engine.inForce.keep(), wanted: reading(engine.inForce, peers) });
        const check = () => {
          for (const { kept, wanted } of readers) expect(reading(kept, peers)).toEqual(wanted);
        };
        enter();
        for (const one of changes) {
          {
            using _ = engine.hold();
            ignoring(() => {
              let step = 0;
              for (const steps = one(engine); steps.next().done !== true; step += 1) {
                if (step !== begin % 5) continue;
                enter();
                amid += 1;
                check();
              }
            });
          }
          check();
          enter();
        }
        if (new Set(readers.map(({ wanted }) => JSON.stringify(wanted, text))).size > 1) different += 1;
        for (const { kept } of readers.splice(1)) kept[Symbol.dispose]();
        check();
      },
    ),
    { numRuns: 100 },
  );
  expect(Math.min(amid, different)).toBeGreaterThan(30);
});

it('what nobody reads any more is not remembered', () => {
  const engine = engineOf({ networks: [], namespaces: [], identities: [], policies: [] } as never);
  engine.upsertNetwork({ id: 1, name: 'n', isolation_mode: 'full', peers: [] });
  const remembered = vi.spyOn(Past.prototype, 'come');
  const costOf = () => {
    remembered.mockClear();
    engine.upsertIdentity({ id: 256, network_id: 1, namespace: 'default', labels: {} });
    return remembered.mock.calls.length;
  };
  const alone = costOf();
  {
    using _one = engine.inForce.keep();
    using two = engine.inForce.keep();
    expect(costOf()).toBe(alone + 1);
    two[Symbol.dispose]();
    expect(costOf()).toBe(alone + 1);
  }
  expect(costOf()).toBe(alone);
});

function text(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? `${value}` : value;
}

describe('what is held', () => {
  const REF: PolicyRef = { namespace: 'default', name: 'p' };
  const policy = (except: string) =>
    parsePolicy({
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name: REF.name },
      spec: { podSelector: {}, ingress: [{ from: [{ ipBlock: { cidr: '10.0.0.0/8', except: [except] } }] }] },
    });

  function engine(): PolicyEngine {
    const made = new PolicyEngine();
    made.upsertNetwork({ id: 1, name: 'n', isolation_mode: 'full', peers: [] });
    made.upsertIdentity({ id: 256, network_id: 1, namespace: 'default', labels: {} });
    made.upsertPolicy(policy('10.1.0.0/16'));
    made.takeDelta();
    return made;
  }

  it('does not stand in the way of what is told', () => {
    const [held, other] = [engine(), engine()];
    using _ = held.hold();
    for (const one of [held, other]) one.upsertPolicy(policy('10.2.0.0/16'));
    expect(held.takeDelta()).toEqual(other.takeDelta());
    for (const one of [held, other]) one.removePolicy(REF);
    expect(held.takeDelta()).toEqual(other.takeDelta());
    expect(held.inForce.selectedBy(256, 'ingress')).toEqual([REF]);
  });

  it('is one thing at a time', () => {
    const made = engine();
    {
      using _ = made.hold();
      expect(() => made.hold()).toThrow(RangeError);
    }
    using _ = made.hold();
    finish(made.removingPolicy(REF));
    expect(made.inForce.selectedBy(256, 'ingress')).toEqual([REF]);
  });
});
