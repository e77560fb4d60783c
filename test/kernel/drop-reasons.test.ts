import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Programs } from '../support/programs.js';
import { ALL_REASONS, checkRow, provoked, type Row } from '../support/row.js';
import { Scenario } from '../support/scenario.js';
import { bandwidthRows } from './rows/bandwidth.js';
import { ethernetRows } from './rows/ethernet.js';
import { exhaustiveRows } from './rows/exhaustive.js';
import { flowRows, TIGHT, tightRows } from './rows/flows.js';
import { fragmentRows } from './rows/fragments.js';
import { icmpRows } from './rows/icmp.js';
import { INBOUND_LIMITS, inboundRateRows, inboundRows } from './rows/inbound.js';
import { ipRows } from './rows/ip.js';
import { ipHeaderRows } from './rows/ip-headers.js';
import { masqueradeRows, onePortRows } from './rows/masquerade.js';
import { serviceRows, twoInbound, twoInboundRows } from './rows/service.js';
import { transportRows } from './rows/transport.js';

const TABLES: Record<string, Row[]> = {
  ethernetRows,
  ipRows,
  ipHeaderRows,
  transportRows,
  fragmentRows,
  icmpRows,
  flowRows,
  masqueradeRows,
  serviceRows,
  inboundRows,
  bandwidthRows,
};

/** Reasons that no packet can bring about from outside, and why. */
const NOT_PROVOKED: Record<string, string> = {
  DELIVERY_FAILED: 'a store into a packet of this size fails only when the kernel has no memory',
  CHECKSUM_OFFSET: 'a test run cannot make a packet that leaves its checksum to the card (test/e2e does)',
  UNJUDGED: 'a test run cannot mark a packet as classified (test/e2e does)',
};

describe.each(Object.entries(TABLES))('%s', (_table, rows) => {
  let s: Scenario;
  beforeAll(async () => {
    s = await shared();
  });
  beforeEach(() => s.reset());

  it.each(rows)('$name', async (row) => {
    await checkRow(s, row);
  });
});

describe('every value', () => {
  it.each(Object.entries(exhaustiveRows))('of %s', async (_name, rows) => {
    const s = await shared();
    s.reset();
    for (const row of rows) {
      s.programs.conntrack.clear();
      await checkRow(s, row);
    }
  });
});

const ONE_PORT = { settings: { nat_port_min: 61000, nat_port_max: 61000, events_burst: 1_000_000 } };

describe.each([
  ['tightRows', TIGHT, tightRows],
  ['onePortRows', ONE_PORT, onePortRows],
  ['twoInboundRows', twoInbound, twoInboundRows],
  ['inboundRateRows', INBOUND_LIMITS, inboundRateRows],
] as const)('%s', (_name, options, rows) => {
  let s: Scenario;
  beforeAll(async () => {
    s = new Scenario(await Programs.load(options));
  });
  afterAll(() => s?.programs.close());
  beforeEach(() => s.reset());

  it.each([...rows])('$name', async (row) => {
    await checkRow(s, row);
  });
});

const rows = [
  ...Object.values({ ...TABLES, ...exhaustiveRows }).flat(),
  ...tightRows,
  ...onePortRows,
  ...twoInboundRows,
  ...inboundRateRows,
];

it('every reason for a drop is provoked by a row, or is listed as one that cannot be', () => {
  const seen = provoked(rows);
  expect(ALL_REASONS.filter((reason) => !seen.has(reason))).toEqual(Object.keys(NOT_PROVOKED));
  expect([...seen].filter((reason) => reason !== 'NONE' && !ALL_REASONS.includes(reason))).toEqual([]);
});

it('no two rows have the same name', () => {
  const names = rows.map((row) => row.name);
  expect(names.filter((name, at) => names.indexOf(name) !== at)).toEqual([]);
});

let loaded: Promise<Scenario> | undefined;
/** Loaded once for all tables of ordinary size: that is what takes the time. */
function shared(): Promise<Scenario> {
  loaded ??= Programs.load({ settings: { events_burst: 1_000_000 } }).then(
    (programs) => new Scenario(programs),
  );
  return loaded;
}
afterAll(async () => (await loaded)?.programs.close());
