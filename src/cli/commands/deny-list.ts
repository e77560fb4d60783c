import type { Command } from 'commander';
import type { DenyList, DenyListChange } from '../../model/deny-list.js';
import { contentOf } from '../content.js';
import { type Context, type ContextOf, json, pathOf } from '../context.js';
import { UsageError } from '../failures.js';
import { type Columns, listText, objectText } from '../output.js';

const PATH = ['firewall', 'deny-list'];
const PAGE = 10_000;
const COLUMNS: Columns<string> = { headings: ['CIDR'], cells: (cidr) => [cidr] };

const CHANGES = [
  { verb: 'add', method: 'POST', text: 'deny these ranges or addresses too' },
  { verb: 'remove', method: 'DELETE', text: 'take ranges off the list, each as it was put there' },
  { verb: 'replace', method: 'PUT', text: 'make these the whole list' },
] as const;

export function register(group: Command, contextOf: ContextOf): void {
  group
    .command('list')
    .description('every range from which nothing is taken that comes in by the uplink')
    .action(async () => {
      const { api, format, print } = contextOf();
      const cidrs: string[] = [];
      let after: string | undefined;
      do {
        const page = (await api.call('GET', pathOf(PATH, { after, limit: PAGE }))) as DenyList;
        cidrs.push(...page.cidrs);
        after = page.next;
      } while (after !== undefined);
      await print(await listText(format, { cidrs, total: cidrs.length }, cidrs, COLUMNS));
    });

  for (const { verb, method, text } of CHANGES) {
    group
      .command(`${verb} [cidr...]`)
      .description(text)
      .option(
        '-f, --file <path>',
        'and those of a file, one a line, # starts a comment; - for standard input',
      )
      .action(async (given: string[], { file }: { file?: string }) => {
        const context = contextOf();
        const { api, format, print } = context;
        const cidrs = [...given, ...(file === undefined ? [] : await linesOf(file, context))];
        if (cidrs.length === 0 && verb !== 'replace') throw new UsageError('there is no range to act on');
        if (file === undefined && given.length === 0)
          throw new UsageError('to empty the list, replace it by an empty file');
        const answer = (await api.call(method, pathOf(PATH), json({ cidrs }))) as DenyListChange;
        const { added, removed, total } = answer;
        await print(
          format === 'table'
            ? `${added} added, ${removed} removed, ${total} on the list\n`
            : await objectText(format, answer),
        );
      });
  }
}

async function linesOf(file: string, context: Context): Promise<string[]> {
  const text = await contentOf(file, context);
  return text
    .split('\n')
    .map((line) => line.replace(/#.*$/, '').trim())
    .filter((line) => line !== '');
}
