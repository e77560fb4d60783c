import type { Command } from 'commander';
import type { IdentityList } from '../../model/identity.js';
import type { ContextOf } from '../context.js';
import { type Columns, listText } from '../output.js';
import { labelsText } from '../text.js';

const COLUMNS: Columns<IdentityList['identities'][number]> = {
  headings: ['IDENTITY', 'NETWORK', 'NAMESPACE', 'ENDPOINTS', 'LABELS'],
  cells: ({ id, network, namespace, endpoints, labels }) => [
    String(id),
    network,
    namespace,
    String(endpoints),
    labelsText(labels),
  ],
};

export function register(group: Command, contextOf: ContextOf): void {
  group
    .command('list')
    .description('every identity with its labels')
    .action(async () => {
      const { api, format, print } = contextOf();
      const answer = (await api.call('GET', '/identities')) as IdentityList;
      await print(await listText(format, answer, answer.identities, COLUMNS));
    });
}
