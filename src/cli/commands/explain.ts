import type { Command } from 'commander';
import { cutOffAdvice } from '../../model/cut-off.js';
import {
  type ExplainedParty,
  type ExplainedSide,
  type Explanation,
  explainRequest,
} from '../../model/explanation.js';
import { type ContextOf, json } from '../context.js';
import { addFlags } from '../flags.js';
import { objectText } from '../output.js';
import { labelsText, printable } from '../text.js';

export function register(command: Command, contextOf: ContextOf): void {
  command
    .argument('<from>', 'who sends: the id of a container, or an address')
    .argument('<to>', 'who receives: the id of a container, or an address');
  const bodyOf = addFlags(command, explainRequest, { except: ['from', 'to'] });
  command.action(async (from: string, to: string, values: Record<string, unknown>) => {
    const { api, format, print } = contextOf();
    const answer = await api.call('POST', '/explain', json({ from, to, ...bodyOf(values) }));
    await print(
      format === 'table' ? explanationText(answer as Explanation) : await objectText(format, answer),
    );
  });
}

function explanationText(answer: Explanation): string {
  const { verdict, reason, reason_text, source, destination, egress, ingress, audited, agreed } = answer;
  const what = verdict === 'dropped' ? `dropped: ${reason}, ${reason_text}` : 'allowed';
  const port = answer.port === undefined ? '' : ` port ${answer.port}`;
  const lines = [
    what,
    `  ${partyText(source)} -> ${partyText(destination)} ${answer.protocol}${port}`,
    ...(egress === undefined ? [] : [`  egress:  ${sideText(egress)}`]),
    ...(ingress === undefined ? [] : [`  ingress: ${sideText(ingress)}`]),
  ];
  if (audited !== undefined) {
    const rules = [audited.egress_rule, audited.ingress_rule].filter((rule) => rule !== undefined);
    const by = rules.length === 0 ? '' : ` by ${rules.join(' and ')}`;
    const would = audited.verdict === 'dropped' ? `dropped ${audited.reason}` : audited.verdict;
    lines.push(`  would be ${would}${by}${isolationText(audited)} (audit)`);
  }
  if (!agreed) lines.push('  the compiled policy says otherwise: see the log of the daemon');
  return lines.map((line) => `${printable(line)}\n`).join('');
}

function partyText({ kind, container_id, network, labels, ip }: ExplainedParty): string {
  if (container_id === undefined) return `${kind}(${ip})`;
  const text = labelsText(labels);
  return `${container_id}(${[ip, network, ...(text === '' ? [] : [text])].join(' ')})`;
}

function sideText(side: ExplainedSide): string {
  if (side.cut_off_by !== undefined) {
    return `cut off: its rules do not fit into the kernel; ${cutOffAdvice(side.cut_off_by)}`;
  }
  const by = side.rule === undefined ? ' by default' : ` by ${side.rule}`;
  const tier = side.tier === undefined ? '' : ` (${side.tier})`;
  return `${side.verdict}${by}${tier}${isolationText(side)}`;
}

function isolationText({ isolated_by = [] }: { isolated_by?: string[] | undefined }): string {
  return isolated_by.length === 0 ? '' : `, isolated by ${isolated_by.join(', ')}`;
}
