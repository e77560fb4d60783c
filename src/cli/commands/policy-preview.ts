/** What a dry run tells, for a reader. */
import { cutOffAdvice, type LabelledCutOff } from '../../model/cut-off.js';
import type { PolicyChange, PolicyChangeParty } from '../../model/policy-preview.js';
import { labelsText, tableOf } from '../text.js';
import { type Flow, flowSentence } from './flows.js';

/** Answer of POST /policies?dry_run=true. */
export interface Preview {
  changes: PolicyChange[];
  flows: Flow[];
  cut_off: LabelledCutOff[];
  truncated: boolean;
}

export function previewText({ changes, flows, cut_off, truncated }: Preview): string {
  const isNothing = changes.length === 0 && flows.length === 0 && !truncated;
  const lost = cut_off.map(({ cut_off_by, ...identity }) => {
    const who = partyText({ kind: 'identity', ...identity });
    return `${who} would be cut off: its rules do not fit into the kernel; ${cutOffAdvice(cut_off_by)}\n`;
  });
  const rows = changes.map(({ source, destination, protocol, ports, before, after }) => [
    partyText(source),
    partyText(destination),
    protocol,
    ports,
    before,
    after,
  ]);
  const headings = ['SOURCE', 'DESTINATION', 'PROTOCOL', 'PORTS', 'BEFORE', 'AFTER'];
  const recorded = flows.map((flow) => `${flowSentence(flow)}\n`).join('');
  return [
    ...(isNothing ? ['nothing would change\n'] : []),
    ...(rows.length === 0 ? [] : [tableOf(headings, rows)]),
    ...(recorded === '' ? [] : [`\nrecorded flows that would have been dropped:\n${recorded}`]),
    ...(rows.length === 0 || lost.length === 0 ? [] : ['\n']),
    ...lost,
    ...(truncated ? ['\nthere may be more: a limit was reached\n'] : []),
  ].join('');
}

function partyText(party: PolicyChangeParty): string {
  if (party.kind === 'world') {
    const except = party.except === undefined ? '' : ` except ${party.except.join(',')}`;
    return party.range === undefined ? 'world' : `world(${party.range}${except})`;
  }
  const some = party.addresses === undefined ? '' : `(${party.addresses.join(',')})`;
  if (party.kind === 'host') return `host${some}`;
  const labels = labelsText(party.labels);
  return `${party.network}/${party.namespace}${labels === '' ? '' : `[${labels}]`}${some}`;
}
