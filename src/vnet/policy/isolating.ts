import type { InForce } from '../../firewall/in-force.js';
import type { Direction } from '../../firewall/types.js';

/** Names of the policies that isolate an identity in a direction; with `audit`, those too that are only audited. */
export type IsolatedBy = (identity: number, direction: Direction, audit: boolean) => string[];

export function isolatedBy(inForce: InForce): IsolatedBy {
  return (identity, direction, audit) =>
    inForce.selectedBy(identity, direction, { audit }).map(({ namespace, name }) => `${namespace}/${name}`);
}
