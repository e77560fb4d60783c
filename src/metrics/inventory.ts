import type { Node } from '../vnet/contract.js';
import type { Collectors } from './collector.js';
import { METRICS } from './names.js';

/** How many there are of everything that the node keeps. */
export function collectInventory(collectors: Collectors, node: Node): void {
  collectors.add(METRICS.endpoints, 'endpoints', (set) => {
    for (const { name } of node.networks.list()) set({ network: name, state: 'ready' }, 0);
    for (const { network, state } of node.endpoints.list()) set({ network, state }, 1);
  });
  collectors.add(METRICS.networks, 'networks', (set) => set({}, node.networks.list().length));
  collectors.add(METRICS.identities, 'identities', (set) => set({}, node.observation.identities().length));
  collectors.add(METRICS.namespaces, 'namespaces', (set) => set({}, node.namespaces.list().length));
  collectors.add(METRICS.denyList, 'deny list', (set) => set({}, node.denyList.size));
  collectors.add(METRICS.portMappings, 'port_mappings', (set) => {
    for (const { name } of node.networks.list()) set({ network: name }, 0);
    for (const { network } of node.portMappings.records()) set({ network }, 1);
  });
  collectors.add(METRICS.services, 'services', (set) => set({}, node.services.list().length));
  collectors.add(METRICS.serviceBackends, 'services', (set) => {
    for (const { namespace, name, backends } of node.services.list())
      set({ namespace, service: name }, backends);
  });
  collectors.add(METRICS.policies, 'policies', (set) => set({}, node.policies.list().length));
}
