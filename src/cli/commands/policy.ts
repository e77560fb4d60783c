import { readFile } from 'node:fs/promises';
import { text as textOf } from 'node:stream/consumers';
import type { Command } from 'commander';
import { DEFAULT_NAMESPACE } from '../../model/names.js';
import type { NetworkPolicy } from '../../model/policy.js';
import { Refused } from '../client.js';
import { type Context, type ContextOf, pathOf } from '../context.js';
import { failureOf, UsageError } from '../failures.js';
import { type Columns, listText, objectText } from '../output.js';
import { labelsText } from '../text.js';

const COLUMNS: Columns<NetworkPolicy> = {
  headings: ['NAMESPACE', 'NAME', 'TYPES', 'SELECTS'],
  cells: ({ metadata, spec }) => [
    metadata.namespace,
    metadata.name,
    (spec.policyTypes ?? []).join(','),
    selectorText(spec.podSelector),
  ],
};

const NAMESPACE = [
  '-n, --namespace <value>',
  'its namespace; - for a cluster-wide one',
  DEFAULT_NAMESPACE,
] as const;

export function register(group: Command, contextOf: ContextOf): void {
  group
    .command('apply')
    .description('make or replace the policies of a file')
    .requiredOption('-f, --file <path>', 'YAML or JSON, one or more documents; - for standard input')
    .action(async ({ file }: { file: string }) => {
      const context = contextOf();
      const content = await contentOf(file, context);
      const documents = documentsOf(content);
      if (documents.length === 0) throw new UsageError(`${file}: there is no policy in it`);
      for (const document of documents) await apply(document, context);
    });

  group
    .command('list')
    .description('every policy')
    .action(async () => {
      const { api, format, print } = contextOf();
      const answer = (await api.call('GET', '/policies')) as { policies: NetworkPolicy[] };
      await print(await listText(format, answer, answer.policies, COLUMNS));
    });

  group
    .command('show <name>')
    .description('one policy')
    .option(...NAMESPACE)
    .action(async (name: string, { namespace }: { namespace: string }) => {
      const { api, format, print } = contextOf();
      await print(await objectText(format, await api.call('GET', pathOf(['policies', namespace, name]))));
    });

  group
    .command('delete <name>')
    .description('remove a policy')
    .option(...NAMESPACE)
    .action(async (name: string, { namespace }: { namespace: string }) => {
      const { api, format, print } = contextOf();
      await api.call('DELETE', pathOf(['policies', namespace, name]));
      if (format === 'table') await print(`policy ${namespace}/${name} removed\n`);
    });
}

async function contentOf(file: string, { stdin }: Context): Promise<string> {
  if (file === '-') return textOf(stdin);
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new UsageError(`${file} cannot be read: ${(error as NodeJS.ErrnoException).code ?? String(error)}`);
  }
}

/** One that is refused does not keep the others from being applied, and each says what became of it. */
async function apply(document: string, context: Context): Promise<void> {
  const { api, format, print, complain } = context;
  try {
    const body = { type: 'application/yaml', text: document };
    const answer = await api.ask('POST', '/policies', body);
    const policy = answer.body as NetworkPolicy;
    const { namespace, name } = policy.metadata;
    const what = answer.status === 201 ? 'made' : 'replaced';
    if (format === 'yaml') await print('---\n');
    await print(
      format === 'table' ? `policy ${namespace}/${name} ${what}\n` : await objectText(format, policy),
    );
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    const { exit, text } = failureOf(error);
    complain(text);
    context.exitCode = exit;
  }
}

function selectorText({ matchLabels, matchExpressions = [] }: NetworkPolicy['spec']['podSelector']): string {
  const expressions = matchExpressions.map(({ key, operator, values = [] }) =>
    `${key} ${operator} ${values.join('|')}`.trim(),
  );
  const parts = [labelsText(matchLabels), ...expressions].filter((part) => part !== '');
  return parts.length === 0 ? '(all)' : parts.join(',');
}

/**
 * The YAML documents of a text, those without content left out. `---` at the start of a line always begins a
 * document. Each is preceded by as many empty lines as keep its line numbers those of the text.
 */
export function documentsOf(text: string): string[] {
  const documents: { first: number; lines: string[] }[] = [{ first: 0, lines: [] }];
  text.split('\n').forEach((line, index) => {
    if (/^---(?:\s|$)/.test(line)) documents.push({ first: index, lines: [] });
    documents.at(-1)?.lines.push(line);
  });
  return documents
    .filter(({ lines }) => lines.some((line) => /^(?!---\s*(?:#|$)|\s*(?:#|$)|\.\.\.\s*$)/.test(line)))
    .map(({ first, lines }) => '\n'.repeat(first) + lines.join('\n'));
}
