import type { Command } from 'commander';
import { type Namespace, type NamespaceList, namespaceRequest } from '../../model/namespace.js';
import { type ContextOf, json, pathOf } from '../context.js';
import { addFlags } from '../flags.js';
import { type Columns, listText, objectText } from '../output.js';
import { labelsText } from '../text.js';

const COLUMNS: Columns<Namespace> = {
  headings: ['NAME', 'LABELS'],
  cells: ({ name, labels }) => [name, labelsText(labels)],
};

export function register(group: Command, contextOf: ContextOf): void {
  const set = group.command('set <name>').description('make a namespace, or replace its labels');
  const bodyOf = addFlags(set, namespaceRequest);
  set.action(async (name: string, values: Record<string, unknown>) => {
    const { api, format, print } = contextOf();
    const made = await api.call('PUT', pathOf(['namespaces', name]), json(bodyOf(values)));
    await print(format === 'table' ? `namespace ${name} set\n` : await objectText(format, made));
  });

  group
    .command('list')
    .description('every namespace')
    .action(async () => {
      const { api, format, print } = contextOf();
      const answer = (await api.call('GET', '/namespaces')) as NamespaceList;
      await print(await listText(format, answer, answer.namespaces, COLUMNS));
    });

  group
    .command('show <name>')
    .description('one namespace')
    .action(async (name: string) => {
      const { api, format, print } = contextOf();
      await print(await objectText(format, await api.call('GET', pathOf(['namespaces', name]))));
    });

  group
    .command('delete <name>')
    .description('remove a namespace that nothing is in')
    .action(async (name: string) => {
      const { api, format, print } = contextOf();
      await api.call('DELETE', pathOf(['namespaces', name]));
      if (format === 'table') await print(`namespace ${name} removed\n`);
    });
}
