import type { Command } from 'commander';
import { type PortMapping, type PortMappingList, portMappingRequest } from '../../model/port-mapping.js';
import { type ContextOf, json, pathOf } from '../context.js';
import { addFlags } from '../flags.js';
import { type Columns, listText, objectText } from '../output.js';

const PATH = ['nat', 'port-mappings'] as const;

const COLUMNS: Columns<PortMapping> = {
  headings: ['ID', 'PROTOCOL', 'HOST', 'NETWORK', 'CONTAINER', 'PORT', 'OUTSIDE'],
  cells: ({ id, protocol, network, container_id, container_port, reachable_from_outside, ...host }) => [
    String(id),
    protocol,
    hostText(host),
    network,
    container_id,
    String(container_port),
    reachable_from_outside ? 'reachable' : 'denied',
  ],
};

export function register(group: Command, contextOf: ContextOf): void {
  const create = group
    .command('create <network> <container>')
    .description('open a port of the node towards a container');
  const bodyOf = addFlags(create, portMappingRequest, { except: ['network', 'container_id'] });
  create.action(async (network: string, container_id: string, values: Record<string, unknown>) => {
    const { api, format, print, complain } = contextOf();
    const body = { network, container_id, ...bodyOf(values) };
    const made = (await api.call('POST', pathOf(PATH), json(body))) as PortMapping;
    if (format !== 'table') return print(await objectText(format, made));
    await print(`port mapping ${made.id} made: ${made.protocol} ${hostText(made)}\n`);
    if (made.hint !== undefined) complain(`${made.hint}\n`);
  });

  group
    .command('list')
    .description('every port mapping')
    .action(async () => {
      const { api, format, print } = contextOf();
      const answer = (await api.call('GET', pathOf(PATH))) as PortMappingList;
      await print(await listText(format, answer, answer.port_mappings, COLUMNS));
    });

  group
    .command('show <id>')
    .description('one port mapping')
    .action(async (id: string) => {
      const { api, format, print } = contextOf();
      await print(await objectText(format, await api.call('GET', pathOf([...PATH, id]))));
    });

  group
    .command('delete <id>')
    .description('close the port of the node; connections that are open go on')
    .action(async (id: string) => {
      const { api, format, print } = contextOf();
      await api.call('DELETE', pathOf([...PATH, id]));
      if (format === 'table') await print(`port mapping ${id} removed\n`);
    });
}

function hostText({ host_ip = '*', host_port }: Pick<PortMapping, 'host_ip' | 'host_port'>): string {
  return host_ip.includes(':') ? `[${host_ip}]:${host_port}` : `${host_ip}:${host_port}`;
}
