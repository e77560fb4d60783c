/** What a dry run tells, for a reader. */
import type { PolicyChange, PolicyChangeParty } from '../../model/policy-preview.js';
import { labelsText, tableOf } from '../text.js';
import { type Flow, flowSentence } from './flows.js';

/** Answer of POST /policies?dry_run=true. */
export interface Preview {
  changes: PolicyChange[];
  flows: Flow[];
  truncated: boolean;
}

export function previewText({ changes, flows, truncated }: Preview): string {
  if (changes.length === 0 && flows.length === 0 && !truncated) return 'nothing would change\n';
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
    ...(rows.length === 0 ? [] : [tableOf(headings, rows)]),
    ...(recorded === '' ? [] : [`\nrecorded flows that would have been dropped:\n${recorded}`]),
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
