/** Policies that are more than the tables of the kernel take, and who of them is in force. */
import { expect } from 'vitest';
import type { ConntrackSweeper } from '../../src/datapath/conntrack-sweeper.js';
import type { PolicyTable } from '../../src/datapath/policy-table.js';
import { PolicyEngine } from '../../src/firewall/engine.js';
import type { PolicyRoom } from '../../src/model/cut-off.js';
import { type Policy, parsePolicy, policyRef } from '../../src/model/policy.js';
import type { Store } from '../../src/store/store.js';
import { needOf } from '../../src/vnet/policy/fitting.js';
import { PolicySync } from '../../src/vnet/policy/policy-sync.js';
import { finish } from '../../src/work/steps.js';
import { nothingLeft } from './nothing-left.js';

/** What a container is let in by: everybody to so many ports, and everybody of so many ranges. */
export interface Wish {
  ports?: number;
  ranges?: number;
}

export const count = (length: number) => [...Array(length).keys()];

export function policyOf(name: string, app: string, { ports = 0, ranges = 0 }: Wish): Policy {
  return parsePolicy({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name },
    spec: {
      podSelector: { matchLabels: { app } },
      ingress: [
        // Odd ones have no range in common.
        ...(ports === 0 ? [] : [{ ports: count(ports).map((index) => ({ port: 1001 + 2 * index })) }]),
        // A rule has at most so many.
        ...count(Math.ceil(ranges / 50)).map((rule) => ({
          from: count(Math.min(50, ranges - 50 * rule)).map((index) => ({
            ipBlock: { cidr: `10.${rule}.${index}.0/24` },
          })),
        })),
      ],
    },
  });
}

/** The identity of the first container; those of the others follow. */
export const FIRST = 256;

export const WIDE: PolicyRoom = { policy_max: 1000, policy_cidrs_max: 1000, subjects_max: 1000 };

/** Containers with what they are let in by, recorded, and the daemon that is to put it in force. */
export class World {
  readonly engine = new PolicyEngine();
  readonly ids: number[];
  readonly sync: PolicySync;
  onError: (cause: unknown) => void = (cause) => {
    throw cause;
  };
  onUncertain: () => void = () => undefined;

  constructor(
    store: Store,
    readonly table: PolicyTable,
    wishes: readonly Wish[],
    order = count(wishes.length),
  ) {
    this.engine.upsertNetwork({ id: 1, name: 'n', isolation_mode: 'full', peers: [] });
    this.ids = wishes.map((_, index) => FIRST + index);
    for (const index of order) {
      this.engine.upsertIdentity({
        id: FIRST + index,
        network_id: 1,
        namespace: 'default',
        labels: { app: `${index}` },
      });
      this.engine.upsertPolicy(policyOf(`p${index}`, `${index}`, wishes[index] ?? {}));
    }
    const sweeper = { sweep: async () => undefined } as unknown as ConntrackSweeper;
    this.sync = new PolicySync(this.engine, table, store, sweeper, {
      error: (cause) => this.onError(cause),
      left: nothingLeft,
      uncertain: () => this.onUncertain(),
    });
  }

  get cutOff() {
    return this.ids.filter((id) => this.sync.cutOffBy(id) !== undefined);
  }

  apply(policy: Policy, before?: Policy) {
    return this.sync.change(
      (engine) => engine.upsertingPolicy(policy),
      (engine) =>
        before === undefined ? engine.removingPolicy(policyRef(policy)) : engine.upsertingPolicy(before),
    );
  }

  remove(policy: Policy) {
    return this.sync.change(
      (engine) => engine.removingPolicy(policyRef(policy)),
      (engine) => engine.upsertingPolicy(policy),
    );
  }

  /** The tables have all that is theirs of those who are not cut off, and nothing else. */
  async requireExact() {
    const { entries, cidrs, subjects } = await this.table.load();
    const inForce = this.ids.filter((id) => !this.cutOff.includes(id));
    expect(subjects.map(({ identity }) => identity).sort()).toEqual(
      inForce.filter((id) => this.engine.rulesOf(id).subjects.length > 0),
    );
    const sizes = (items: readonly { subject: number }[], id: number) =>
      items.filter(({ subject }) => subject === id).length;
    for (const id of this.ids) {
      const need = needOf(finish(this.sync.takingRulesInForce(id)));
      const has = {
        policy_max: sizes(
          entries.map(({ key }) => key),
          id,
        ),
        policy_cidrs_max: sizes(cidrs, id),
      };
      expect({ id, ...has }).toEqual({
        id,
        policy_max: need.policy_max,
        policy_cidrs_max: need.policy_cidrs_max,
      });
    }
  }
}
