import { type Command, InvalidArgumentError } from 'commander';
import { type ContextOf, pathOf } from '../context.js';
import type { Format } from '../output.js';
import { objectText } from '../output.js';
import { printable } from '../text.js';

interface FlowValues {
  follow?: boolean;
  verdict?: string;
  network?: string;
  containerId?: string;
  audited?: boolean;
  limit?: string;
}

interface Party {
  kind?: string;
  container_id?: string;
  ip?: string;
  port?: number;
}

interface Verdict {
  verdict?: string;
  reason?: string;
  egress_rule?: string;
  ingress_rule?: string;
  isolated_by?: string[];
}

/** A line of GET /flows; every field is the daemon's, none is relied on. */
export interface Flow extends Verdict {
  time?: string;
  lost?: number;
  direction?: string;
  network?: string;
  protocol?: string;
  source?: Party;
  destination?: Party;
  audit?: Verdict;
}

export function register(command: Command, contextOf: ContextOf): void {
  command
    .option('--follow', 'go on with new ones until interrupted')
    .option('--verdict <value>', 'allowed or dropped')
    .option('--network <name>', 'only those of a network')
    .option('--container-id <id>', 'only those from or to a container')
    .option('--audited', 'only those that the audited policies would have decided otherwise')
    .option('--limit <n>', 'most recent ones to begin with', (text: string) => {
      if (/^[0-9]{1,9}$/.test(text)) return text;
      throw new InvalidArgumentError('It must be a whole number.');
    })
    .action(async ({ containerId, ...values }: FlowValues) => {
      const { api, format, print } = contextOf();
      const path = pathOf(['flows'], { ...values, container_id: containerId });
      for await (const line of api.lines(path)) await print(await flowText(format, line));
    });
}

async function flowText(format: Format, line: string): Promise<string> {
  if (format === 'json') return `${line}\n`;
  const flow = JSON.parse(line) as Flow;
  return format === 'yaml' ? `---\n${await objectText('yaml', flow)}` : `${flowSentence(flow)}\n`;
}

/** A flow in a line. */
export function flowSentence(flow: Flow): string {
  return printable(sentence(flow));
}

function sentence(flow: Flow): string {
  const { time = '', lost, direction = '', network = '-', protocol = '-' } = flow;
  if (lost !== undefined) return `${time} ${lost} events lost: this reader did not keep up`;
  const parties = `${partyText(flow.source)} -> ${partyText(flow.destination)}`;
  const audit =
    flow.audit === undefined ? '' : `; would be ${verdictText(flow.audit)}${causeText(flow.audit)} (audit)`;
  return `${time} ${verdictText(flow)} ${direction} ${network} ${protocol} ${parties}${causeText(flow)}${audit}`;
}

function verdictText({ verdict = '', reason = '' }: Verdict): string {
  return verdict === 'dropped' ? `dropped ${reason}` : verdict;
}

/** The rules that decided, and what isolates the side that none of them allowed. */
function causeText({ egress_rule, ingress_rule, isolated_by = [] }: Verdict): string {
  const rules = [egress_rule, ingress_rule].filter((rule) => rule !== undefined);
  const by = rules.length === 0 ? '' : ` by ${rules.join(' and ')}`;
  return isolated_by.length === 0 ? by : `${by}, isolated by ${isolated_by.join(', ')}`;
}

function partyText({ kind = 'unknown', container_id, ip = '', port }: Party = {}): string {
  const host = port !== undefined && ip.includes(':') ? `[${ip}]` : ip;
  const address = port === undefined ? host : `${host}:${port}`;
  const name = container_id ?? kind;
  return address === '' ? name : `${name}(${address})`;
}
