import type { PolicyEngine } from '../firewall/engine.js';
import type { Direction } from '../firewall/types.js';

/** Names of the policies that isolate an identity in a direction; with `audit`, those too that are only audited. */
export type IsolatedBy = (identity: number, direction: Direction, audit: boolean) => string[];

export function isolatedBy(engine: PolicyEngine): IsolatedBy {
  return (identity, direction, audit) =>
    engine.selectedBy(identity, direction, { audit }).map(({ namespace, name }) => `${namespace}/${name}`);
}
