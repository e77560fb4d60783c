import type { Command } from 'commander';
import type { Health, Readiness, UplinkState } from '../../model/health.js';
import type { ContextOf } from '../context.js';
import { EXIT } from '../failures.js';
import { objectText } from '../output.js';
import { tableOf } from '../text.js';

export function register(command: Command, contextOf: ContextOf): void {
  command.action(async () => {
    const context = contextOf();
    const { api, format, print } = context;
    const { version } = (await api.call('GET', '/healthz')) as Health;
    const readiness = (await api.probe('GET', '/readyz')).body as Readiness;
    if (!readiness.ready) context.exitCode = EXIT.failed;
    if (format !== 'table') return print(await objectText(format, { version, ...readiness }));
    const rows = readiness.checks.map(({ name, ready, message = '' }) => [
      name,
      ready ? 'yes' : 'no',
      message,
    ]);
    const [first = {}, ...more] = readiness.uplinks ?? [];
    const ways =
      more.length === 0 ? `uplink ${wayOf(first)}` : `uplinks ${[first, ...more].map(wayOf).join('; ')}`;
    const head = `quantum-api ${version} is ${readiness.ready ? 'ready' : 'not ready'}, ${ways}\n`;
    return print(
      head +
        cutOffText(readiness.policies) +
        precededText(readiness.preceded) +
        unrepairedText(readiness.unrepaired) +
        tableOf(['CHECK', 'READY', 'MESSAGE'], rows),
    );
  });
}

function cutOffText(policies: Readiness['policies']): string {
  if (policies === undefined) return '';
  const { identities_cut_off, cut_off, message } = policies;
  const lines = cut_off.map(
    ({ identity, network, namespace, cut_off_by }) =>
      `identity ${identity} (${network}/${namespace})${cut_off_by.length === 0 ? '' : `: ${cut_off_by.join(', ')}`}`,
  );
  return listText(identities_cut_off, `identities are cut off: ${message}`, lines);
}

function precededText(preceded: Readiness['preceded']): string {
  if (preceded === undefined) return '';
  const { attachments, first, message } = preceded;
  const lines = first.map(
    ({ pin, in_front }) =>
      `${pin}: behind ${in_front.map(({ id, name }) => `${name === '' ? 'program' : name} (id ${id})`).join(', ')}`,
  );
  return listText(attachments, `programs are not the first: ${message}`, lines);
}

function unrepairedText(unrepaired: Readiness['unrepaired']): string {
  if (unrepaired === undefined) return '';
  const { problems, first, message } = unrepaired;
  return listText(problems, `problems: ${message}`, first);
}

/** How many of them there are, what they are, and a line for each of those that are told. */
function listText(count: number, what: string, told: readonly string[]): string {
  const more = count - told.length;
  const lines = [...told, ...(more === 0 ? [] : [`and ${more} more`])];
  return `${count} ${what}\n${lines.map((line) => `  ${line}\n`).join('')}`;
}

function wayOf({ interface: name, ip_address, ip6_address, message, xdp }: UplinkState): string {
  if (name === undefined) return `none${message ? `: ${message}` : ''}`;
  const addresses = [ip_address, ip6_address].filter((address) => address !== undefined).join(', ');
  return `${name} ${addresses} (XDP: ${xdp ?? 'none'})`;
}
