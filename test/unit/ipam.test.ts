import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cidrSize, type Family, parseAddress, parseCidr } from '../../src/model/address.js';
import { AppError } from '../../src/model/errors.js';
import { MemoryTable } from '../../src/store/memory.js';
import type { Transaction } from '../../src/store/store.js';
import { addresses, pools, released, TABLES } from '../../src/store/tables.js';
import {
  type AddressedNetwork,
  addressUsage,
  allocateAddress,
  allocateWithin,
  forgetAddresses,
  QUARANTINE,
  releaseAddress,
} from '../../src/vnet/ipam.js';

/** A transaction over memory alone, that counts its steps. */
class CountingTransaction implements Transaction {
  steps = 0;
  readonly #tables = new Map([...TABLES.keys()].map((name) => [name, new MemoryTable()]));

  #table(name: string): MemoryTable {
    this.steps++;
    const table = this.#tables.get(name);
    if (table === undefined) throw new Error(`no table ${name}`);
    return table;
  }
  get: Transaction['get'] = (table, key) => this.#table(table.name).get(key) as never;
  list: Transaction['list'] = (table, prefix) => this.#table(table.name).list(prefix ?? []) as never;
  where: Transaction['where'] = (table, fits) => this.#table(table.name).where(fits as never) as never;
  any: Transaction['any'] = (table, prefix) => this.#table(table.name).any(prefix ?? []);
  put: Transaction['put'] = (table, key, value) =>
    this.#table(table.name).set(key, table.schema.parse(value));
  delete: Transaction['delete'] = (table, key) => this.#table(table.name).delete(key);
}

function networkOf(ranges: Partial<AddressedNetwork>): AddressedNetwork {
  return { id: 7, name: 'blue', ...ranges };
}

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof AppError) return error.code;
    throw error;
  }
  return 'none';
}

describe('addresses of a network', () => {
  it('never include the base, the gateway and, in IPv4, the broadcast address', () => {
    const cases: [Family, AddressedNetwork, string[]][] = [
      [
        4,
        networkOf({ cidr: '10.0.0.0/29', gateway: '10.0.0.1' }),
        ['2', '3', '4', '5', '6'].map((n) => `10.0.0.${n}`),
      ],
      [
        4,
        networkOf({ cidr: '10.0.0.0/29', gateway: '10.0.0.4' }),
        ['1', '2', '3', '5', '6'].map((n) => `10.0.0.${n}`),
      ],
      [4, networkOf({ cidr: '10.0.0.4/30' }), ['10.0.0.6']],
      [6, networkOf({ cidr6: 'fd00::/126', gateway6: 'fd00::3' }), ['fd00::1', 'fd00::2']],
    ];
    for (const [family, network, expected] of cases) {
      const transaction = new CountingTransaction();
      const given = expected.map(() => allocateAddress(transaction, network, family, 1));
      expect(given).toEqual(expected);
      expect(codeOf(() => allocateAddress(transaction, network, family, 1))).toBe('POOL_EXHAUSTED');
      expect(addressUsage(transaction, network, family)).toEqual({
        used: expected.length,
        capacity: BigInt(expected.length),
      });
    }
  });

  it('are refused by name when they are outside, reserved, taken, or of a family without a range', () => {
    const network = networkOf({ cidr: '10.0.0.0/24', gateway: '10.0.0.9' });
    const transaction = new CountingTransaction();
    expect(allocateAddress(transaction, network, 4, 1, '10.0.0.77')).toBe('10.0.0.77');
    for (const wanted of ['10.0.1.1', 'fd00::1', '10.0.0.0', '10.0.0.9', '10.0.0.255', 'x']) {
      expect(codeOf(() => allocateAddress(transaction, network, 4, 2, wanted))).toBe('INVALID_REQUEST');
    }
    expect(codeOf(() => allocateAddress(transaction, network, 4, 2, '10.0.0.77'))).toBe('ADDRESS_IN_USE');
    expect(codeOf(() => allocateAddress(transaction, network, 6, 2))).toBe('INVALID_REQUEST');
  });

  it('are taken back only from the endpoint that has them', () => {
    const network = networkOf({ cidr: '10.0.0.0/24' });
    const transaction = new CountingTransaction();
    const address = allocateAddress(transaction, network, 4, 1);
    expect(releaseAddress(transaction, network, address, 2)).toBe(false);
    expect(codeOf(() => forgetAddresses(transaction, network))).toBe('NETWORK_IN_USE');
    expect(releaseAddress(transaction, network, address, 1)).toBe(true);
    expect(releaseAddress(transaction, network, address, 1)).toBe(false);
    forgetAddresses(transaction, network);
    expect(transaction.any(addresses)).toBe(false);
    expect(transaction.any(released)).toBe(false);
    expect(transaction.any(pools)).toBe(false);
  });

  it('are reused only when nothing new is left or more than QUARANTINE wait, longest released first', () => {
    const network = networkOf({ cidr: '10.0.0.0/16' });
    const transaction = new CountingTransaction();
    const first = Array.from({ length: QUARANTINE + 1 }, () => allocateAddress(transaction, network, 4, 1));
    for (const address of first.slice(0, QUARANTINE)) releaseAddress(transaction, network, address, 1);
    const fresh = allocateAddress(transaction, network, 4, 1);
    expect(first).not.toContain(fresh);
    releaseAddress(transaction, network, first.at(-1) ?? '', 1);
    expect(allocateAddress(transaction, network, 4, 1)).toBe(first[0]);
  });

  it('do not fill the store when they are asked for by name and released without end', () => {
    const network = networkOf({ cidr: '10.0.0.0/8' });
    const transaction = new CountingTransaction();
    for (let index = 0; index < 3 * QUARANTINE; index++) {
      const wanted = `10.9.${index >> 8}.${index & 255}`;
      releaseAddress(transaction, network, allocateAddress(transaction, network, 4, 1, wanted), 1);
    }
    expect(transaction.list(released)).toHaveLength(QUARANTINE);
  });

  it.each([
    [4, { cidr: '10.0.0.0/8' }],
    [6, { cidr6: 'fd00::/64' }],
  ] as const)('cost the 100,000th IPv%i endpoint no more steps than the first', (family, ranges) => {
    const network = networkOf(ranges);
    const transaction = new CountingTransaction();
    const stepsOf = (action: () => unknown): number => {
      transaction.steps = 0;
      action();
      return transaction.steps;
    };
    const given: string[] = [];
    const allocate = () => given.push(allocateAddress(transaction, network, family, 1));
    const release = () => releaseAddress(transaction, network, given.shift() ?? '', 1);
    allocate();
    const allocateFirst = stepsOf(allocate);
    const releaseFirst = stepsOf(release);
    for (let index = 0; index < 100_000; index++) allocate();
    expect(stepsOf(allocate)).toBeLessThanOrEqual(allocateFirst);
    for (let index = 0; index < 2 * QUARANTINE; index++) release();
    // Beside the first one: the record of the neighbour in the queue, read and written.
    expect(stepsOf(release)).toBeLessThanOrEqual(releaseFirst + 2);
    expect(stepsOf(allocate)).toBeLessThanOrEqual(allocateFirst + 3);
    expect(new Set(given).size).toBe(given.length);
    expect(addressUsage(transaction, network, family).used).toBe(given.length);
  });
});

/** The same promises, said plainly: sets and an array. */
class NaiveModel {
  readonly used = new Map<string, number>();
  waiting: string[] = [];
  #given = 0;
  constructor(readonly range: readonly string[]) {}

  allocate(endpoint: number): string | undefined {
    // No range of this test has more than QUARANTINE addresses: what is new goes first.
    while (this.#given < this.range.length) {
      const address = this.range[this.#given++] ?? '';
      if (!this.used.has(address) && !this.waiting.includes(address)) return this.take(address, endpoint);
    }
    const oldest = this.waiting[0];
    return oldest === undefined ? undefined : this.take(oldest, endpoint);
  }
  take(address: string, endpoint: number): string {
    this.waiting = this.waiting.filter((other) => other !== address);
    this.used.set(address, endpoint);
    return address;
  }
  release(address: string, endpoint: number): boolean {
    if (this.used.get(address) !== endpoint) return false;
    this.used.delete(address);
    this.waiting.push(address);
    return true;
  }
}

const operation = fc.oneof(
  fc.record({ kind: fc.constant('allocate' as const), endpoint: fc.integer({ min: 1, max: 3 }) }),
  fc.record({
    kind: fc.constant('want' as const),
    endpoint: fc.integer({ min: 1, max: 3 }),
    pick: fc.nat(31),
  }),
  fc.record({
    kind: fc.constant('release' as const),
    endpoint: fc.integer({ min: 1, max: 3 }),
    pick: fc.nat(31),
  }),
);

describe('the allocator', () => {
  it.each([
    [4, { cidr: '10.0.0.32/28', gateway: '10.0.0.37' }, '10.0.0.'],
    [6, { cidr6: 'fd00::20/124', gateway6: 'fd00::21' }, 'fd00::'],
  ] as const)(
    'does what a naive model of IPv%i does, whatever happens in whatever order',
    (family, ranges, prefix) => {
      const network = networkOf(ranges);
      const cidr = parseCidr(family === 4 ? '10.0.0.32/28' : 'fd00::20/124');
      const nameOf = (offset: number) => prefix + (32 + offset).toString(family === 4 ? 10 : 16);
      const reserved = family === 4 ? [0, 5, 15] : [0, 1];
      const range = Array.from({ length: Number(cidrSize(cidr)) }, (_, offset) => offset)
        .filter((offset) => !reserved.includes(offset))
        .map(nameOf);
      fc.assert(
        fc.property(fc.array(operation, { maxLength: 120 }), (operations) => {
          const transaction = new CountingTransaction();
          const model = new NaiveModel(range);
          for (const step of operations) {
            if (step.kind === 'allocate') {
              const expected = model.allocate(step.endpoint);
              const action = () => allocateAddress(transaction, network, family, step.endpoint);
              if (expected === undefined) expect(codeOf(action)).toBe('POOL_EXHAUSTED');
              else expect(action()).toBe(expected);
            } else if (step.kind === 'want') {
              const wanted = nameOf(step.pick - 8);
              const action = () => allocateAddress(transaction, network, family, step.endpoint, wanted);
              if (!range.includes(wanted)) expect(codeOf(action)).toBe('INVALID_REQUEST');
              else if (model.used.has(wanted)) expect(codeOf(action)).toBe('ADDRESS_IN_USE');
              else expect(action()).toBe(model.take(wanted, step.endpoint));
            } else {
              const address = range[step.pick % range.length] ?? '';
              expect(releaseAddress(transaction, network, address, step.endpoint)).toBe(
                model.release(address, step.endpoint),
              );
            }
            expect(addressUsage(transaction, network, family).used).toBe(model.used.size);
          }
          const held = transaction
            .list(addresses, [7])
            .map(({ address, endpoint_id }) => [address, endpoint_id]);
          expect(new Map(held as [string, number][])).toEqual(model.used);
          expect(
            transaction
              .list(released, [7])
              .map(({ address }) => address)
              .sort(),
          ).toEqual([...model.waiting].sort());
          expect(held.every(([address]) => parseAddress(String(address)).family === family)).toBe(true);
        }),
        { numRuns: 300 },
      );
    },
  );
});

describe('addresses within ranges asked for', () => {
  const network = networkOf({
    cidr: '10.0.0.0/24',
    gateway: '10.0.0.1',
    cidr6: 'fd00::/64',
    gateway6: 'fd00::1',
  });
  const span = (first: string, last: string) => ({ family: 4 as const, first, last });

  it('are taken in order, reserved and taken ones passed over, to the last of the last range', () => {
    const transaction = new CountingTransaction();
    allocateAddress(transaction, network, 4, 1, '10.0.0.2');
    const spans = [span('10.0.0.0', '10.0.0.3'), span('10.0.0.254', '10.0.0.255')];
    const take = (id: number) => allocateWithin(transaction, network, 4, id, spans);
    expect([take(2), take(3)]).toEqual(['10.0.0.3', '10.0.0.254']);
    expect(codeOf(() => take(4))).toBe('POOL_EXHAUSTED');
    expect(addressUsage(transaction, network, 4).used).toBe(3);
  });

  it('come back when they were given back, the one that has waited longest first', () => {
    const transaction = new CountingTransaction();
    const spans = [span('10.0.0.8', '10.0.0.9')];
    const take = (id: number) => allocateWithin(transaction, network, 4, id, spans);
    take(1);
    take(2);
    allocateAddress(transaction, network, 4, 3, '10.0.0.77');
    releaseAddress(transaction, network, '10.0.0.77', 3);
    releaseAddress(transaction, network, '10.0.0.9', 2);
    releaseAddress(transaction, network, '10.0.0.8', 1);
    expect([take(4), take(5)]).toEqual(['10.0.0.9', '10.0.0.8']);
  });

  it('must be of the network, in which everything else is as it was', () => {
    const transaction = new CountingTransaction();
    const outside = [span('10.0.0.250', '10.0.1.5')];
    expect(codeOf(() => allocateWithin(transaction, network, 4, 1, outside))).toBe('INVALID_REQUEST');
    const six = [{ family: 6 as const, first: 'fd00::', last: 'fd00::ffff:ffff:ffff:ffff' }];
    expect(allocateWithin(transaction, network, 6, 1, six)).toBe('fd00::2');
    expect(allocateAddress(transaction, network, 4, 2)).toBe('10.0.0.2');
  });
});
