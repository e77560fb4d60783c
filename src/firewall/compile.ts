/** The whole policy at once. The engine that is told everything gives the same, change by change. */
import { PolicyEngine } from './engine.js';
import type { CompiledPolicy, PolicyInput } from './types.js';

/** Throws RangeError when an identity is in a network that is not given, or two networks have one name. */
export function compile({ node, networks, namespaces, identities, policies }: PolicyInput): CompiledPolicy {
  const engine = new PolicyEngine({ node });
  for (const network of networks) engine.upsertNetwork(network);
  for (const namespace of namespaces) engine.setNamespace(namespace);
  for (const identity of identities) engine.upsertIdentity(identity);
  for (const policy of policies) engine.upsertPolicy(policy);
  return engine.snapshot();
}
