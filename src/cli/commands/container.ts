import type { Command } from 'commander';
import { bandwidth } from '../../model/bandwidth.js';
import { type ContainerList, type Endpoint, endpointRequest } from '../../model/endpoint.js';
import { type Context, type ContextOf, json, pathOf } from '../context.js';
import { UsageError } from '../failures.js';
import { addFlags } from '../flags.js';
import { listText, objectText } from '../output.js';
import { ENDPOINT_COLUMNS } from './endpoint.js';

const INTERFACE = ['--interface-name <value>', 'which interface, where the container has several'] as const;

interface InterfaceValues {
  interfaceName?: string;
}

interface LabelValues extends InterfaceValues {
  namespace?: string;
  replace?: boolean;
}

type LimitValues = InterfaceValues & Readonly<Record<string, unknown>> & { none?: boolean };

export function register(group: Command, contextOf: ContextOf): void {
  const connect = group
    .command('connect <network> <container-id>')
    .description('connect a container to a network');
  const bodyOf = addFlags(connect, endpointRequest, { except: ['container_id'] });
  connect.action(async (network: string, id: string, values: Record<string, unknown>) => {
    const { api, format, print } = contextOf();
    const body = json({ container_id: id, ...bodyOf(values) });
    const made = (await api.call('POST', pathOf(['networks', network, 'containers']), body)) as Endpoint;
    const addresses = [made.ip_address, made.ip6_address].filter((address) => address !== undefined);
    const text = `container ${id} connected: ${made.interface_name} ${addresses.join(' ')}\n`;
    await print(format === 'table' ? text : await objectText(format, made));
  });

  group
    .command('list <network>')
    .description('containers that are connected to a network')
    .action(async (network: string) => {
      const { api, format, print } = contextOf();
      const answer = (await api.call('GET', pathOf(['networks', network, 'containers']))) as ContainerList;
      await print(await listText(format, answer, answer.containers, ENDPOINT_COLUMNS));
    });

  group
    .command('show <network> <container-id>')
    .description('one connected container')
    .option(...INTERFACE)
    .action(async (network: string, id: string, values: InterfaceValues) => {
      const { api, format, print } = contextOf();
      await print(await objectText(format, await api.call('GET', containerPath(network, id, values))));
    });

  group
    .command('label <network> <container-id> [labels...]')
    .description('set labels (key=value) and remove labels (key-) of a connected container')
    .option('--replace', 'the labels given are all it has')
    .option('--namespace <value>', 'namespace to move it to')
    .option(...INTERFACE)
    .action(async (network: string, id: string, words: string[], values: LabelValues) => {
      const changes = changesOf(words);
      const context = contextOf();
      const path = containerPath(network, id, values);
      const { namespace, replace = false } = values;
      if (changes.length === 0 && namespace === undefined && !replace) {
        throw new UsageError('give labels, --namespace or --replace');
      }
      if (replace && changes.some(([, value]) => value === null)) {
        throw new UsageError('with --replace name the labels that stay');
      }
      const labels = replace ? { labels: labelsOf(changes) } : {};
      const some = changes.length > 0 && !replace ? { label_changes: Object.fromEntries(changes) } : {};
      await patch(context, path, id, { ...labels, ...some, namespace });
    });

  const limit = group
    .command('limit <network> <container-id>')
    .description('set the limits of bandwidth of a connected container; those that are not given end')
    .option('--none', 'it has no limit any more')
    .option(...INTERFACE);
  const limitsOf = addFlags(limit, bandwidth);
  limit.action(async (network: string, id: string, values: LimitValues) => {
    const context = contextOf();
    const limits = limitsOf(values);
    if ((Object.keys(limits).length === 0) !== (values.none ?? false)) {
      throw new UsageError('give limits or --none');
    }
    await patch(context, containerPath(network, id, values), id, { options: { bandwidth: limits } });
  });

  group
    .command('disconnect <network> <container-id>')
    .description('disconnect a container, with every interface or with the one that is named')
    .option(...INTERFACE)
    .action(async (network: string, id: string, values: InterfaceValues) => {
      const { api, format, print } = contextOf();
      await api.call('DELETE', containerPath(network, id, values));
      if (format === 'table') await print(`container ${id} disconnected\n`);
    });
}

async function patch(context: Context, path: string, id: string, body: object): Promise<void> {
  const { api, format, print } = context;
  const after = await api.call('PATCH', path, json(body));
  await print(format === 'table' ? `container ${id} changed\n` : await objectText(format, after));
}

function containerPath(network: string, id: string, { interfaceName }: InterfaceValues): string {
  return pathOf(['networks', network, 'containers', id], { interface_name: interfaceName });
}

/** Labels by key; null: it is to be removed. */
type Changes = readonly (readonly [key: string, value: string | null])[];

/** Reads `key=value` and `key-`. */
function changesOf(words: readonly string[]): Changes {
  const changes = words.map(changeOf);
  const keys = changes.map(([key]) => key);
  const repeated = keys.find((key, index) => keys.indexOf(key) < index);
  if (repeated !== undefined) throw new UsageError(`${repeated} is given twice`);
  return changes;
}

function changeOf(word: string): Changes[number] {
  const end = word.indexOf('=');
  if (end > 0) return [word.slice(0, end), word.slice(end + 1)];
  if (end < 0 && word.length > 1 && word.endsWith('-')) return [word.slice(0, -1), null];
  throw new UsageError(`${JSON.stringify(word)} is neither key=value nor key-`);
}

function labelsOf(changes: Changes): Record<string, string> {
  return Object.fromEntries(changes.flatMap(([key, value]) => (value === null ? [] : [[key, value]])));
}
