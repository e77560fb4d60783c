import type { Command } from 'commander';
import { type Network, type NetworkList, networkRequest } from '../../model/network.js';
import { type ContextOf, json, pathOf } from '../context.js';
import { addFlags } from '../flags.js';
import { type Columns, listText, objectText } from '../output.js';

const COLUMNS: Columns<Network> = {
  headings: ['NAME', 'CIDR', 'CIDR6', 'ISOLATION', 'BRIDGE'],
  cells: ({ name, cidr = '', cidr6 = '', isolation_mode, bridge_interface }) => [
    name,
    cidr,
    cidr6,
    isolation_mode,
    bridge_interface,
  ],
};

export function register(group: Command, contextOf: ContextOf): void {
  const create = group.command('create <name>').description('make a network');
  const bodyOf = addFlags(create, networkRequest, { except: ['name'] });
  create.action(async (name: string, values: Record<string, unknown>) => {
    const { api, format, print } = contextOf();
    const made = await api.call('POST', '/networks', json({ name, ...bodyOf(values) }));
    await print(format === 'table' ? `network ${name} made\n` : await objectText(format, made));
  });

  group
    .command('list')
    .description('every network')
    .action(async () => {
      const { api, format, print } = contextOf();
      const answer = (await api.call('GET', '/networks')) as NetworkList;
      await print(await listText(format, answer, answer.networks, COLUMNS));
    });

  group
    .command('show <name>')
    .description('one network')
    .action(async (name: string) => {
      const { api, format, print } = contextOf();
      await print(await objectText(format, await api.call('GET', pathOf(['networks', name]))));
    });

  group
    .command('delete <name>')
    .description('remove a network that no container is connected to')
    .action(async (name: string) => {
      const { api, format, print } = contextOf();
      await api.call('DELETE', pathOf(['networks', name]));
      if (format === 'table') await print(`network ${name} removed\n`);
    });
}
