import { AppError } from '../../src/model/errors.js';
import { CLUSTER_WIDE } from '../../src/model/names.js';
import { type Policy, policyRef } from '../../src/model/policy.js';
import type { PolicyPreview, PolicyService } from '../../src/vnet/contract.js';

/** `ensureNamespace` makes it if it is not there; `preview`: what a dry run tells. */
export function fakePolicies(
  fail: () => void,
  ensureNamespace: (name: string) => void,
  preview: () => PolicyPreview,
): PolicyService {
  const policies = new Map<string, Policy>();
  const get = (namespace: string, name: string) => {
    const found = policies.get(`${namespace}/${name}`);
    if (found === undefined) throw new AppError('POLICY_NOT_FOUND');
    return found;
  };
  return {
    apply: async (applied) => {
      fail();
      return applied.map((policy) => {
        const { namespace, name } = policyRef(policy);
        const created = !policies.has(`${namespace}/${name}`);
        if (namespace !== CLUSTER_WIDE) ensureNamespace(namespace);
        policies.set(`${namespace}/${name}`, policy);
        return { policy, created };
      });
    },
    preview: async () => {
      fail();
      return preview();
    },
    list: () => [...policies.values()],
    get,
    delete: async (namespace, name) => {
      fail();
      get(namespace, name);
      policies.delete(`${namespace}/${name}`);
    },
  };
}
