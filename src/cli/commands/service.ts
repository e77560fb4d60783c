import type { Command } from 'commander';
import { DEFAULT_NAMESPACE } from '../../model/names.js';
import type { Service, ServiceList } from '../../model/service.js';
import { parseYamlDocuments } from '../../model/yaml-text.js';
import { contentOf } from '../content.js';
import { type ContextOf, json, pathOf } from '../context.js';
import { UsageError } from '../failures.js';
import { type Columns, listText, objectText } from '../output.js';
import { selectorText } from '../text.js';

/** Most services of one file. */
const DOCUMENTS_MAX = 256;

const COLUMNS: Columns<Service> = {
  headings: ['NAMESPACE', 'NAME', 'ADDRESSES', 'PORTS', 'SELECTS', 'BACKENDS'],
  cells: ({ namespace, name, ip_address = '', ip6_address = '', ports, selector, backends }) => [
    namespace,
    name,
    [ip_address, ip6_address].filter((address) => address !== '').join(','),
    ports.map(portText).join(','),
    selectorText(selector),
    String(backends),
  ],
};

const NAMESPACE = ['-n, --namespace <value>', 'its namespace', DEFAULT_NAMESPACE] as const;

export function register(group: Command, contextOf: ContextOf): void {
  group
    .command('apply')
    .description('make or replace the services of a file, one after the other')
    .requiredOption('-f, --file <path>', 'YAML or JSON, one or more documents; - for standard input')
    .action(async ({ file }: { file: string }) => {
      const context = contextOf();
      const { api, format, print } = context;
      const documents = parseYamlDocuments(await contentOf(file, context), DOCUMENTS_MAX);
      if (documents.length === 0) throw new UsageError(`${file}: there is no service in it`);
      for (const document of documents) {
        const { status, body } = await api.ask('POST', '/services', json(document));
        const made = body as Service;
        const what = status === 201 ? 'made' : 'replaced';
        await print(
          format === 'table'
            ? `service ${made.namespace}/${made.name} ${what}\n`
            : await objectText(format, made),
        );
      }
    });

  group
    .command('list')
    .description('every service')
    .action(async () => {
      const { api, format, print } = contextOf();
      const answer = (await api.call('GET', '/services')) as ServiceList;
      await print(await listText(format, answer, answer.services, COLUMNS));
    });

  group
    .command('show <name>')
    .description('one service')
    .option(...NAMESPACE)
    .action(async (name: string, { namespace }: { namespace: string }) => {
      const { api, format, print } = contextOf();
      await print(await objectText(format, await api.call('GET', pathOf(['services', namespace, name]))));
    });

  group
    .command('delete <name>')
    .description('remove a service; connections that are open go on')
    .option(...NAMESPACE)
    .action(async (name: string, { namespace }: { namespace: string }) => {
      const { api, format, print } = contextOf();
      await api.call('DELETE', pathOf(['services', namespace, name]));
      if (format === 'table') await print(`service ${namespace}/${name} removed\n`);
    });
}

/** `80/TCP`, with a node port `80:30080/TCP`. */
function portText({ port, node_port, protocol }: Service['ports'][number]): string {
  return `${port}${node_port === undefined ? '' : `:${node_port}`}/${protocol}`;
}
