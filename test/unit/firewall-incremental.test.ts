import fc from 'fast-check';
import { expect, test } from 'vitest';
import { compile } from '../../src/firewall/compile.js';
import { PolicyEngine } from '../../src/firewall/engine.js';
import { formatRuleKey, RuleTable } from '../../src/firewall/lookup.js';
import { formatRuleRef } from '../../src/firewall/rule-ref.js';
import type { CompiledPolicy } from '../../src/firewall/types.js';
import { AppError } from '../../src/model/errors.js';
import { parsePolicy, policyRef } from '../../src/model/policy.js';
import * as arbitrary from '../support/policy-arbitraries.js';
import type { OracleIdentity, OracleNetwork, OraclePolicy } from '../support/policy-oracle.js';

type Step =
  | { kind: 'network'; network: OracleNetwork }
  | { kind: 'no network'; id: number }
  | { kind: 'namespace'; name: string; labels: Record<string, string> }
  | { kind: 'no namespace'; name: string }
  | { kind: 'identity'; identity: OracleIdentity }
  | { kind: 'no identity'; id: number }
  | { kind: 'policy'; policy: OraclePolicy }
  | { kind: 'other rules'; of: OraclePolicy }
  | { kind: 'no policy'; policy: OraclePolicy }
  | { kind: 'delta' };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: arbitrary.network.map((network): Step => ({ kind: 'network', network })) },
  { weight: 1, arbitrary: arbitrary.networkId.map((id): Step => ({ kind: 'no network', id })) },
  {
    weight: 2,
    arbitrary: arbitrary.namespace.map((namespace): Step => ({ kind: 'namespace', ...namespace })),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(...arbitrary.NAMESPACES).map((name): Step => ({ kind: 'no namespace', name })),
  },
  { weight: 6, arbitrary: arbitrary.identity.map((identity): Step => ({ kind: 'identity', identity })) },
  { weight: 2, arbitrary: arbitrary.identityId.map((id): Step => ({ kind: 'no identity', id })) },
  { weight: 6, arbitrary: arbitrary.policy.map((policy): Step => ({ kind: 'policy', policy })) },
  { weight: 3, arbitrary: arbitrary.policy.map((of): Step => ({ kind: 'other rules', of })) },
  { weight: 2, arbitrary: arbitrary.policy.map((policy): Step => ({ kind: 'no policy', policy })) },
  { weight: 2, arbitrary: fc.constant<Step>({ kind: 'delta' }) },
);

function refOf(policy: OraclePolicy) {
  return policyRef(parsePolicy(policy));
}

/** What the engine was told, kept as plainly as possible. */
class Model {
  readonly networks = new Map<number, OracleNetwork>();
  readonly namespaces = new Map<string, { name: string; labels: Record<string, string> }>();
  readonly identities = new Map<number, OracleIdentity>();
  readonly policies = new Map<string, OraclePolicy>();

  compile(): CompiledPolicy {
    return compile({
      networks: [...this.networks.values()],
      namespaces: [...this.namespaces.values()],
      identities: [...this.identities.values()],
      policies: [...this.policies.values()].map((policy) => parsePolicy(policy)),
    });
  }

  /** Tells the engine and, unless it throws, remembers. */
  take(step: Step, engine: PolicyEngine): void {
    switch (step.kind) {
      case 'network':
        engine.upsertNetwork(step.network);
        this.networks.set(step.network.id, step.network);
        return;
      case 'no network':
        engine.removeNetwork(step.id);
        this.networks.delete(step.id);
        return;
      case 'namespace':
        engine.setNamespace(step);
        this.namespaces.set(step.name, step);
        return;
      case 'no namespace':
        engine.removeNamespace(step.name);
        this.namespaces.delete(step.name);
        return;
      case 'identity':
        engine.upsertIdentity(step.identity);
        this.identities.set(step.identity.id, step.identity);
        return;
      case 'no identity':
        engine.removeIdentity(step.id);
        this.identities.delete(step.id);
        return;
      case 'policy':
        engine.upsertPolicy(parsePolicy(step.policy));
        this.policies.set(arbitrary.policyId(step.policy), step.policy);
        return;
      case 'other rules': {
        const changed = this.#withRulesOf(step.of);
        if (changed !== undefined) this.take({ kind: 'policy', policy: changed }, engine);
        return;
      }
      case 'no policy': {
        engine.removePolicy(refOf(step.policy));
        this.policies.delete(arbitrary.policyId(step.policy));
        return;
      }
      case 'delta':
        return;
    }
  }

  /** A policy of the same kind as the one given, with that one's ingress rules and otherwise as it is. */
  #withRulesOf(of: OraclePolicy): OraclePolicy | undefined {
    const known = [...this.policies.values()].find(({ kind }) => kind === of.kind);
    if (known === undefined) return undefined;
    return { ...known, spec: { ...known.spec, ingress: of.spec.ingress ?? [] } } as OraclePolicy;
  }
}

/** Everything about a compiled policy, in a form that does not depend on order. */
function canonical({ entries, subjects, cidrs }: CompiledPolicy) {
  return {
    entries: entries
      .map(
        (entry) =>
          `${formatRuleKey(entry)} ${entry.verdict} ${entry.precedence} ${formatRuleRef(entry.rule)}`,
      )
      .sort(),
    subjects: subjects.toSorted((left, right) => left.identity - right.identity),
    cidrs: cidrs.map(({ subject, direction, cidr }) => `${subject} ${direction} ${cidr}`).sort(),
  };
}

function run(
  steps: Step[],
  engine: PolicyEngine,
  refused: (error: unknown, step: Step, model: Model) => void,
) {
  const model = new Model();
  const table = new RuleTable();
  for (const one of steps) {
    try {
      model.take(one, engine);
    } catch (error) {
      refused(error, one, model);
    }
    if (one.kind !== 'delta') continue;
    table.apply(engine.takeDelta());
    expect(canonical(table)).toEqual(canonical(engine.snapshot()));
  }
  table.apply(engine.takeDelta());
  const whole = canonical(model.compile());
  expect(canonical(engine.snapshot())).toEqual(whole);
  expect(canonical(table)).toEqual(whole);
  return model;
}

/** An identity of a network that is not there, or a network that has identities. */
function isMisuse(error: unknown): boolean {
  return error instanceof RangeError && /does not exist|has identities/.test(error.message);
}

test('any sequence of changes leaves what compiling the result from nothing gives, and so do its deltas', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 60, size: 'max' }), (steps) => {
      run(steps, new PolicyEngine(), (error) => {
        if (!isMisuse(error)) throw error;
      });
    }),
    { numRuns: 100 },
  );
});

test('a change that passes the bound on size is refused and changes nothing', () => {
  let refusals = 0;
  fc.assert(
    fc.property(
      fc.array(step, { minLength: 1, maxLength: 60, size: 'max' }),
      fc.integer({ min: 0, max: 120 }),
      (steps, maxSize) => {
        const engine = new PolicyEngine({ maxSize });
        run(steps, engine, (error) => {
          if (isMisuse(error)) return;
          if (!(error instanceof AppError && error.code === 'INSUFFICIENT_CAPACITY')) throw error;
          refusals += 1;
        });
      },
    ),
    { numRuns: 100 },
  );
  expect(refusals).toBeGreaterThan(0);
});

test('nothing is left, and nothing is counted, when everything was removed', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 40, size: 'max' }), (steps) => {
      const engine = new PolicyEngine();
      const model = run(steps, engine, (error) => {
        if (!isMisuse(error)) throw error;
      });
      for (const policy of model.policies.values()) model.take({ kind: 'no policy', policy }, engine);
      for (const id of model.identities.keys()) model.take({ kind: 'no identity', id }, engine);
      for (const id of model.networks.keys()) model.take({ kind: 'no network', id }, engine);
      expect(engine.size).toBe(0);
      expect(engine.snapshot()).toEqual({ entries: [], subjects: [], cidrs: [] });
    }),
  );
});

test('a change that is taken back before the delta is not in the delta', () => {
  fc.assert(
    fc.property(arbitrary.world, arbitrary.policy, (world, extra) => {
      const engine = new PolicyEngine();
      for (const network of world.networks) engine.upsertNetwork(network);
      for (const identity of world.identities) engine.upsertIdentity(identity);
      for (const policy of world.policies) engine.upsertPolicy(parsePolicy(policy));
      const before = world.policies.find(
        (policy) => arbitrary.policyId(policy) === arbitrary.policyId(extra),
      );
      engine.takeDelta();
      engine.upsertPolicy(parsePolicy(extra));
      if (before === undefined) {
        engine.removePolicy(refOf(extra));
      } else engine.upsertPolicy(parsePolicy(before));
      for (const identity of world.identities) engine.upsertIdentity({ ...identity });
      expect(engine.takeDelta()).toEqual({
        set: [],
        delete: [],
        subjects: { set: [], delete: [] },
        cidrs: { set: [], delete: [] },
      });
    }),
  );
});
