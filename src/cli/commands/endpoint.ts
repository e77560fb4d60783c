import type { Command } from 'commander';
import type { Endpoint, EndpointList } from '../../model/endpoint.js';
import type { ContextOf } from '../context.js';
import { type Columns, listText } from '../output.js';
import { labelsText } from '../text.js';

export const ENDPOINT_COLUMNS: Columns<Endpoint> = {
  headings: ['NETWORK', 'CONTAINER', 'INTERFACE', 'ADDRESSES', 'NAMESPACE', 'IDENTITY', 'STATE', 'LABELS'],
  cells: (endpoint) => [
    endpoint.network,
    endpoint.container_id,
    endpoint.interface_name,
    [endpoint.ip_address, endpoint.ip6_address].filter((address) => address !== undefined).join(','),
    endpoint.namespace,
    String(endpoint.identity),
    endpoint.state,
    labelsText(endpoint.labels),
  ],
};

export function register(group: Command, contextOf: ContextOf): void {
  group
    .command('list')
    .description('everything that is attached to this node')
    .action(async () => {
      const { api, format, print } = contextOf();
      const answer = (await api.call('GET', '/endpoints')) as EndpointList;
      await print(await listText(format, answer, answer.endpoints, ENDPOINT_COLUMNS));
    });
}
