import { type Command, Option } from 'commander';
import {
  type Connection,
  type ConnectionEnd,
  type ConnectionList,
  connectionProtocol,
  connectionState,
} from '../../model/connection.js';
import { type ContextOf, pathOf } from '../context.js';
import { type Columns, listText, objectText } from '../output.js';

const PATH = ['nat', 'connections'] as const;

interface Filter {
  protocol?: string;
  address?: string;
  container?: string;
  network?: string;
  port?: string;
  state?: string;
  translated?: string;
}

const COLUMNS: Columns<Connection> = {
  headings: ['PROTOCOL', 'STATE', 'SECONDS', 'SOURCE', 'DESTINATION', 'TRANSLATED'],
  cells: ({ protocol, state, expires_in_seconds, source, destination, icmp_id, translated }) => [
    icmp_id === undefined ? protocol : `${protocol} ${icmp_id}`,
    state,
    String(expires_in_seconds),
    endText(source),
    endText(destination),
    translated === undefined ? '' : `${translated.end} ${endText(translated)}`,
  ],
};

export function register(group: Command, contextOf: ContextOf): void {
  filtered(group.command('list'))
    .description('connections that the node remembers')
    .option('--limit <n>', 'most that are shown')
    .action(async ({ limit, ...filter }: Filter & { limit?: string }) => {
      const { api, format, print, complain } = contextOf();
      const answer = (await api.call('GET', pathOf(PATH, { ...queryOf(filter), limit }))) as ConnectionList;
      await print(await listText(format, answer, answer.connections, COLUMNS));
      if (answer.truncated && format === 'table') complain('there are more; raise --limit\n');
    });

  filtered(group.command('flush'))
    .description('forget connections: what they say next is judged anew')
    .option('--all', 'every connection')
    .action(async ({ all, ...filter }: Filter & { all?: true }) => {
      const { api, format, print } = contextOf();
      const answer = (await api.call('DELETE', pathOf(PATH, { ...queryOf(filter), all }))) as {
        flushed: number;
      };
      if (format !== 'table') return print(await objectText(format, answer));
      await print(`${answer.flushed} connections forgotten\n`);
    });
}

function filtered(command: Command): Command {
  return command
    .addOption(new Option('--protocol <name>', 'only of this protocol').choices(connectionProtocol.options))
    .option('--address <address>', 'only where an end has this address, or one of this range')
    .option('--container <id>', 'only from or to this container')
    .option('--network <name>', 'only from or to containers of this network')
    .option('--port <n>', 'only where an end has this port')
    .addOption(new Option('--state <name>', 'only in this state').choices(connectionState.options))
    .option('--translated <true|false>', 'only those that are translated, or those that are not');
}

function queryOf({ container, ...filter }: Filter): Record<string, unknown> {
  return { ...filter, container_id: container };
}

function endText({ ip, port, container_id }: Pick<ConnectionEnd, 'ip' | 'port' | 'container_id'>): string {
  const host = ip.includes(':') ? `[${ip}]` : ip;
  const place = port === undefined ? ip : `${host}:${port}`;
  return container_id === undefined ? place : `${place} (${container_id})`;
}
