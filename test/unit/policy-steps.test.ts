/** Policies of few words that come to very much: what they cost, and that nobody waits for them. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { PolicyEngine } from '../../src/firewall/engine.js';
import { RuleLedger } from '../../src/firewall/ledger.js';
import { AppError } from '../../src/model/errors.js';
import { type Policy, parsePolicy } from '../../src/model/policy.js';
import { finish, type Steps } from '../../src/work/steps.js';
import { inTurns } from '../../src/work/turns.js';

const MAX = 20_000;
const REF = { namespace: 'default', name: 'p' };

afterEach(() => {
  vi.restoreAllMocks();
});

const count = (length: number) => [...Array(length).keys()];

function policy(ingress: object[]): Policy {
  return parsePolicy({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: REF.name },
    spec: { podSelector: {}, ingress },
  });
}

/** Everybody but a few, as often and others each time: every rule applies to the exceptions of every other. */
const exceptions = (rules: number, each: number) =>
  policy(
    count(rules).map((rule) => ({
      from: [
        {
          ipBlock: { cidr: '0.0.0.0/0', except: count(each).map((part) => `10.${rule}.${part}.0/24`) },
        },
      ],
    })),
  );

const ports = (rules: number, ranges: number) =>
  policy(
    count(rules).map((rule) => ({
      ports: count(ranges).map((part) => ({ port: 1 + part * 600 + rule, endPort: 599 + part * 600 - rule })),
      from: count(10).map((part) => ({ ipBlock: { cidr: `10.${rule}.${part}.0/24` } })),
    })),
  );

const selectors = (rules: number) =>
  policy(
    count(rules).map((rule) => ({
      from: [{ podSelector: { matchExpressions: [{ key: 'x', operator: 'NotIn', values: [`v${rule}`] }] } }],
    })),
  );

function engineOf(identities: number, maxSize = MAX): PolicyEngine {
  const engine = new PolicyEngine({ maxSize });
  engine.upsertNetwork({ id: 1, name: 'n', isolation_mode: 'full', peers: [] });
  for (const index of count(identities)) {
    engine.upsertIdentity({
      id: 256 + index,
      network_id: 1,
      namespace: 'default',
      labels: { i: `${index}` },
    });
  }
  engine.takeDelta();
  return engine;
}

/** How often rules come to apply and cease to, in all and at most in one step. */
function costOf(steps: Steps): { all: number; ofOneStep: number; error?: unknown } {
  const spies = (['apply', 'revoke'] as const).map((name) => vi.spyOn(RuleLedger.prototype, name));
  const done = () => spies.reduce((sum, { mock }) => sum + mock.calls.length, 0);
  let ofOneStep = 0;
  try {
    for (;;) {
      const before = done();
      const { done: isOver } = steps.next();
      ofOneStep = Math.max(ofOneStep, done() - before);
      if (isOver === true) return { all: done(), ofOneStep };
    }
  } catch (error) {
    return { all: done(), ofOneStep, error };
  } finally {
    vi.restoreAllMocks();
  }
}

const FIT = {
  'ranges with exceptions': { engine: () => engineOf(1), of: exceptions(30, 20) },
  'ranges with exceptions, for several': { engine: () => engineOf(10), of: exceptions(10, 10) },
  'ranges of ports': { engine: () => engineOf(1, 200_000), of: ports(110, 5) },
  selectors: { engine: () => engineOf(40), of: selectors(10) },
};
const UNFIT = {
  'ranges with exceptions': { engine: () => engineOf(1), of: exceptions(100, 64) },
  'ranges with exceptions, for several': { engine: () => engineOf(10), of: exceptions(50, 64) },
  'ranges of ports': { engine: () => engineOf(10), of: ports(60, 50) },
  selectors: { engine: () => engineOf(100), of: selectors(100) },
};

describe('a policy that fits', () => {
  it.each(Object.entries(FIT))('comes and goes in small steps: %s', (_name, { engine: make, of }) => {
    const engine = make();
    const coming = costOf(engine.upsertingPolicy(of));
    expect(coming).toEqual({ all: coming.all, ofOneStep: coming.ofOneStep });
    expect(coming.all).toBeGreaterThan(1000);
    expect(coming.ofOneStep).toBeLessThanOrEqual(256);
    expect(engine.takeDelta().set.length).toBeGreaterThan(0);
    const going = costOf(engine.removingPolicy(REF));
    expect(going.all).toBe(coming.all);
    expect(going.ofOneStep).toBeLessThanOrEqual(256);
    expect(engine.size).toBe(0);
  });

  it('is told in small steps', () => {
    const engine = engineOf(1);
    engine.upsertPolicy(exceptions(30, 20));
    engine.takeDelta();
    engine.upsertPolicy(exceptions(20, 30));
    const rules = engine.size;
    let steps = 1;
    for (const delta = engine.takingDelta(); delta.next().done !== true; ) steps += 1;
    expect(steps).toBeGreaterThan(rules / 256);
  });
});

it('an identity that a policy selects comes, is told, goes and is told in small steps', () => {
  const engine = engineOf(1);
  engine.upsertPolicy(exceptions(30, 20));
  const rules = engine.size;
  engine.removeIdentity(256);
  engine.takeDelta();
  const stepsOf = (work: Generator<undefined, unknown>) => {
    let steps = 1;
    while (work.next().done !== true) steps += 1;
    return steps;
  };
  const identity = { id: 256, network_id: 1, namespace: 'default', labels: { i: '0' } };
  for (const work of [
    () => engine.upsertingIdentity(identity),
    () => engine.takingDelta(),
    () => engine.takingRulesOf(256),
    () => engine.takingSnapshot(),
    () => engine.removingIdentity(256),
    () => engine.takingDelta(),
  ]) {
    expect(stepsOf(work())).toBeGreaterThan(rules / 256 / 2);
    expect([0, rules]).toContain(engine.size);
  }
});

describe('a policy that does not fit', () => {
  it.each(Object.entries(UNFIT))(
    'costs no more than what would, in small steps, and changes nothing: %s',
    (_name, { engine: make, of }) => {
      const engine = make();
      const before = engine.snapshot();
      const { all, ofOneStep, error } = costOf(engine.upsertingPolicy(of));
      expect(error).toBeInstanceOf(AppError);
      expect(error).toMatchObject({ code: 'INSUFFICIENT_CAPACITY' });
      // There and back, and of the subject at which it ended what had not come to apply.
      expect(all).toBeLessThanOrEqual(3 * MAX);
      expect(ofOneStep).toBeLessThanOrEqual(256);
      expect(engine.size).toBe(0);
      expect(engine.snapshot()).toEqual(before);
      expect(engine.takeDelta()).toMatchObject({ set: [], delete: [] });
    },
  );

  it('is not worked out where one rule alone names too much: nothing has come by then', () => {
    const engine = engineOf(1, 1000);
    const everybody = count(100).map(() => ({ from: [{ ipBlock: { cidr: '0.0.0.0/0' } }] }));
    const parts = count(100).map((part) => ({ ipBlock: { cidr: `10.0.${part}.0/24` } }));
    const { all, error } = costOf(engine.upsertingPolicy(policy([...everybody, { from: parts }])));
    expect(error).toMatchObject({ code: 'INSUFFICIENT_CAPACITY' });
    expect(all).toBeLessThanOrEqual(2 * everybody.length);
  });
});

it('others have their turn while a change is worked out', async () => {
  // Each step takes a millisecond.
  let now = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => now++);
  const engine = engineOf(1);
  let turns = 0;
  let isOver = false;
  const others = () => {
    turns += 1;
    if (!isOver) setImmediate(others);
  };
  setImmediate(others);
  await inTurns(engine.upsertingPolicy(exceptions(30, 20)));
  isOver = true;
  const other = engineOf(1);
  let steps = 0;
  for (const change = other.upsertingPolicy(exceptions(30, 20)); change.next().done !== true; ) steps += 1;
  expect(turns).toBeGreaterThanOrEqual(Math.floor(steps / 21));
  expect(finish(engine.takingDelta()).set.length).toBe(finish(other.takingDelta()).set.length);
});
