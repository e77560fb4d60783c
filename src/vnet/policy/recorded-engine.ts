import { PolicyEngine, type PolicyEngineOptions } from '../../firewall/engine.js';
import type { Store } from '../../store/store.js';
import { identities, namespaces, networks } from '../../store/tables.js';
import type { IdentityUse } from './identities.js';
import { storedPolicies } from './policies.js';

/** An engine that knows all that is recorded; from now on `max` bounds its size. */
export function recordedEngine(
  store: Store,
  use: IdentityUse,
  options: PolicyEngineOptions,
  max: number,
): PolicyEngine {
  const engine = new PolicyEngine(options);
  for (const network of store.list(networks)) engine.upsertNetwork(network);
  for (const namespace of store.list(namespaces)) engine.setNamespace(namespace);
  for (const id of use.inUse()) {
    const identity = store.get(identities, [id]);
    if (identity !== undefined) engine.upsertIdentity(identity);
  }
  for (const policy of storedPolicies(store)) engine.upsertPolicy(policy);
  engine.bound(max);
  return engine;
}
