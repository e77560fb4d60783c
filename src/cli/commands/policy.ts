import type { Command } from 'commander';
import type { ClusterNetworkPolicy } from '../../model/cluster-network-policy.js';
import { modeOf } from '../../model/kubernetes.js';
import { DEFAULT_NAMESPACE } from '../../model/names.js';
import { NETWORK_POLICY_KIND } from '../../model/network-policy.js';
import { type Policy, type PolicyList, policyRef } from '../../model/policy.js';
import { contentOf } from '../content.js';
import { type ContextOf, pathOf } from '../context.js';
import { UsageError } from '../failures.js';
import { type Columns, listText, objectText } from '../output.js';
import { selectorText } from '../text.js';
import { type Preview, previewText } from './policy-preview.js';

const COLUMNS: Columns<Policy> = {
  headings: ['NAMESPACE', 'NAME', 'KIND', 'TIER', 'PRIORITY', 'MODE', 'TYPES', 'SELECTS'],
  cells: (policy) => {
    const { namespace, name } = policyRef(policy);
    return [namespace, name, policy.kind, ...rankOf(policy), modeOf(policy), ...aimOf(policy)];
  },
};

const NAMESPACE = [
  '-n, --namespace <value>',
  'its namespace; - for a cluster-wide one',
  DEFAULT_NAMESPACE,
] as const;

export function register(group: Command, contextOf: ContextOf): void {
  group
    .command('apply')
    .description('make or replace the policies of a file: all of them, or none when one is refused')
    .requiredOption('-f, --file <path>', 'YAML or JSON, one or more documents; - for standard input')
    .option('--dry-run', 'change nothing; tell what would change between whom')
    .action(async ({ file, dryRun }: { file: string; dryRun?: true }) => {
      const context = contextOf();
      const { api, format, print } = context;
      const text = await contentOf(file, context);
      if (isEmpty(text)) throw new UsageError(`${file}: there is no policy in it`);
      const path = pathOf(['policies'], { dry_run: dryRun });
      const answer = await api.ask('POST', path, { type: 'application/yaml', text });
      if (dryRun) {
        const preview = answer.body as Preview;
        await print(format === 'table' ? previewText(preview) : await objectText(format, preview));
        return;
      }
      await print(
        format === 'table'
          ? outcomeOf(answer.status, answer.body as Policy | PolicyList)
          : await objectText(format, answer.body),
      );
    });

  group
    .command('list')
    .description('every policy')
    .action(async () => {
      const { api, format, print } = contextOf();
      const answer = (await api.call('GET', '/policies')) as PolicyList;
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

/** Whether there is nothing in a YAML text: only comments, and lines between documents. */
function isEmpty(text: string): boolean {
  return text.split('\n').every((line) => /^(?:(?:---)?\s*(?:#.*)?|\.\.\.\s*)$/.test(line));
}

function outcomeOf(status: number, answer: Policy | PolicyList): string {
  const [policies, what] =
    'policies' in answer ? [answer.policies, 'applied'] : [[answer], status === 201 ? 'made' : 'replaced'];
  return policies
    .map(policyRef)
    .map(({ namespace, name }) => `policy ${namespace}/${name} ${what}\n`)
    .join('');
}

/** Tier and priority of a policy that has them. */
function rankOf(policy: Policy): [tier: string, priority: string] {
  if (policy.kind === NETWORK_POLICY_KIND) return ['', ''];
  return [policy.spec.tier, String(policy.spec.priority)];
}

/** The directions that it is about, and whom it selects. */
function aimOf(policy: Policy): [types: string, selects: string] {
  if (policy.kind === NETWORK_POLICY_KIND) {
    return [(policy.spec.policyTypes ?? []).join(','), selectorText(policy.spec.podSelector)];
  }
  const { ingress = [], egress = [], subject } = policy.spec;
  const types = [...(ingress.length > 0 ? ['Ingress'] : []), ...(egress.length > 0 ? ['Egress'] : [])];
  return [types.join(','), subjectText(subject)];
}

function subjectText({ namespaces, pods }: ClusterNetworkPolicy['spec']['subject']): string {
  if (pods === undefined) return `namespaces ${selectorText(namespaces ?? {})}`;
  return `namespaces ${selectorText(pods.namespaceSelector)} pods ${selectorText(pods.podSelector)}`;
}
