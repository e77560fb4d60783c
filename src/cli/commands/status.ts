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
      `  identity ${identity} (${network}/${namespace})${cut_off_by.length === 0 ? '' : `: ${cut_off_by.join(', ')}`}\n`,
  );
  const more = identities_cut_off - cut_off.length;
  const rest = more === 0 ? '' : `  and ${more} more\n`;
  return `${identities_cut_off} identities are cut off: ${message}\n${lines.join('')}${rest}`;
}

function precededText(preceded: Readiness['preceded']): string {
  if (preceded === undefined) return '';
  const { attachments, first, message } = preceded;
  const lines = first.map(
    ({ pin, in_front }) =>
      `  ${pin}: behind ${in_front.map(({ id, name }) => `${name === '' ? 'program' : name} (id ${id})`).join(', ')}\n`,
  );
  const more = attachments - first.length;
  const rest = more === 0 ? '' : `  and ${more} more\n`;
  return `${attachments} programs are not the first: ${message}\n${lines.join('')}${rest}`;
}

function unrepairedText(unrepaired: Readiness['unrepaired']): string {
  if (unrepaired === undefined) return '';
  const { problems, first, message } = unrepaired;
  const more = problems - first.length;
  const rest = more === 0 ? '' : `  and ${more} more\n`;
  return `${problems} problems: ${message}\n${first.map((problem) => `  ${problem}\n`).join('')}${rest}`;
}

function wayOf({ interface: name, ip_address, ip6_address, message, xdp }: UplinkState): string {
  if (name === undefined) return `none${message ? `: ${message}` : ''}`;
  const addresses = [ip_address, ip6_address].filter((address) => address !== undefined).join(', ');
  return `${name} ${addresses} (XDP: ${xdp ?? 'none'})`;
}
