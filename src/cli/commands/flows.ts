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
  limit?: string;
}

interface Party {
  kind?: string;
  container_id?: string;
  ip?: string;
  port?: number;
}

/** A line of GET /flows; every field is the daemon's, none is relied on. */
interface Flow {
  time?: string;
  lost?: number;
  verdict?: string;
  reason?: string;
  direction?: string;
  network?: string;
  protocol?: string;
  source?: Party;
  destination?: Party;
  egress_rule?: string;
  ingress_rule?: string;
}

export function register(command: Command, contextOf: ContextOf): void {
  command
    .option('--follow', 'go on with new ones until interrupted')
    .option('--verdict <value>', 'allowed or dropped')
    .option('--network <name>', 'only those of a network')
    .option('--container-id <id>', 'only those from or to a container')
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
  return format === 'yaml' ? `---\n${await objectText('yaml', flow)}` : `${printable(sentence(flow))}\n`;
}

function sentence(flow: Flow): string {
  const { time = '', lost, verdict = '', reason = '', direction = '', network = '-', protocol = '-' } = flow;
  if (lost !== undefined) return `${time} ${lost} events lost: this reader did not keep up`;
  const what = verdict === 'dropped' ? `dropped ${reason}` : verdict;
  const rules = [flow.egress_rule, flow.ingress_rule].filter((rule) => rule !== undefined);
  const by = rules.length === 0 ? '' : ` by ${rules.join(' and ')}`;
  return `${time} ${what} ${direction} ${network} ${protocol} ${partyText(flow.source)} -> ${partyText(flow.destination)}${by}`;
}

function partyText({ kind = 'unknown', container_id, ip = '', port }: Party = {}): string {
  const host = port !== undefined && ip.includes(':') ? `[${ip}]` : ip;
  const address = port === undefined ? host : `${host}:${port}`;
  const name = container_id ?? kind;
  return address === '' ? name : `${name}(${address})`;
}
