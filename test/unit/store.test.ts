import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { open as openLmdb } from 'lmdb';
import { afterEach, describe, expect, it } from 'vitest';
import { AppError } from '../../src/model/errors.js';
import { EmbeddedStore } from '../../src/store/embedded.js';
import { LmdbFile } from '../../src/store/lmdb-file.js';
import { encodeKey, encodeValue, VERSION_KEY } from '../../src/store/record.js';
import {
  addresses,
  counters,
  namespaces,
  nextNumber,
  policies,
  type RuleRecord,
  rules,
  ruleText,
} from '../../src/store/tables.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function makeDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'quantum-store-'));
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

async function openStore(directory: string): Promise<EmbeddedStore> {
  const store = await EmbeddedStore.open(directory);
  cleanups.push(() => store.close());
  return store;
}

async function errorOf(promise: Promise<unknown>): Promise<AppError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof AppError)) throw new Error(`expected an AppError, got ${String(error)}`);
  return error;
}

const NAMESPACE = { name: 'blue', labels: { team: 'a' }, created_at: '2025-01-01T00:00:00.000Z' };

describe('the embedded store', () => {
  it('gives back after a restart what a resolved transaction wrote', async () => {
    const directory = makeDirectory();
    const first = await openStore(directory);
    await first.transaction((transaction) => {
      transaction.put(namespaces, ['blue'], NAMESPACE);
      transaction.put(counters, ['network'], { last: 7 });
      transaction.put(counters, ['endpoint'], { last: 9 });
    });
    await first.transaction((transaction) => transaction.delete(counters, ['network']));
    await first.close();
    const second = await openStore(directory);
    expect(second.get(namespaces, ['blue'])).toEqual(NAMESPACE);
    expect(second.get(counters, ['network'])).toBeUndefined();
    expect(second.list(counters)).toEqual([{ last: 9 }]);
  });

  it('leaves nothing of a transaction whose body throws, in memory and on disk', async () => {
    const directory = makeDirectory();
    const store = await openStore(directory);
    await store.transaction((transaction) => transaction.put(counters, ['a'], { last: 1 }));
    const failing = store.transaction((transaction) => {
      transaction.put(counters, ['a'], { last: 2 });
      transaction.put(counters, ['b'], { last: 3 });
      transaction.delete(counters, ['a']);
      throw new Error('changed my mind');
    });
    await expect(failing).rejects.toThrow('changed my mind');
    expect(store.get(counters, ['a'])).toEqual({ last: 1 });
    expect(store.any(counters, ['b'])).toBe(false);
    await store.close();
    expect((await openStore(directory)).list(counters)).toEqual([{ last: 1 }]);
  });

  it('lets a body see its own changes and everything before it', async () => {
    const store = await openStore(makeDirectory());
    const numbers = await Promise.all(
      Array.from({ length: 200 }, () =>
        store.transaction((transaction) => nextNumber(transaction, 'endpoint')),
      ),
    );
    expect(numbers).toEqual(Array.from({ length: 200 }, (_, index) => index + 1));
  });

  it('refuses a record that its schema refuses, and changes nothing', async () => {
    const store = await openStore(makeDirectory());
    const error = await errorOf(
      store.transaction((transaction) => {
        transaction.put(counters, ['ok'], { last: 1 });
        transaction.put(counters, ['bad'], { last: -1 });
      }),
    );
    expect(error.code).toBe('STORE_ERROR');
    expect(error.details?.[0]?.path).toBe('last');
    expect(store.list(counters)).toEqual([]);
  });

  it('refuses a body that is not synchronous, a nested transaction, and use after the body', async () => {
    const store = await openStore(makeDirectory());
    await expect(
      store.transaction(async (transaction) => transaction.put(counters, ['a'], { last: 1 })),
    ).rejects.toThrow('must be synchronous');
    expect(store.list(counters)).toEqual([]);
    let nested: Promise<unknown> | undefined;
    await store.transaction(() => {
      nested = store.transaction(() => 1);
      nested.catch(() => undefined);
    });
    await expect(nested).rejects.toThrow('must not start another one');
    const leaked = await store.transaction((transaction) => transaction);
    expect(() => leaked.put(counters, ['a'], { last: 1 })).toThrow('after its body');
  });

  it('keeps what it holds apart from the objects of its callers', async () => {
    const store = await openStore(makeDirectory());
    const object = { spec: { list: [1] } };
    await store.transaction((transaction) =>
      transaction.put(policies, ['default', 'p'], {
        kind: 'NetworkPolicy',
        object,
        created_at: NAMESPACE.created_at,
      }),
    );
    object.spec.list.push(2);
    const held = store.get(policies, ['default', 'p']);
    if (held === undefined) throw new Error('the policy is gone');
    expect(held.object).toEqual({ spec: { list: [1] } });
    expect(Object.isFrozen((held.object as typeof object).spec.list)).toBe(true);
  });

  it('lists by prefix, in the order of keys, and by what values are', async () => {
    const store = await openStore(makeDirectory());
    await store.transaction((transaction) => {
      for (const [network, address] of [
        [10, '10.0.0.2'],
        [9, '10.0.0.3'],
        [9, '10.0.0.1'],
      ] as const) {
        transaction.put(addresses, [network, address], { network_id: network, address, endpoint_id: 1 });
      }
    });
    expect(store.list(addresses, [9]).map(({ address }) => address)).toEqual(['10.0.0.1', '10.0.0.3']);
    expect(store.list(addresses).map(({ network_id }) => network_id)).toEqual([9, 9, 10]);
    const ending = store.where(addresses, ({ address }) => /[12]$/.test(address));
    expect(ending.map(({ address }) => address).sort()).toEqual(['10.0.0.1', '10.0.0.2']);
    await store.transaction((transaction) => transaction.delete(addresses, [10, '10.0.0.2']));
    expect(store.any(addresses, [10])).toBe(false);
    expect(store.any(addresses, [9])).toBe(true);
  });

  it('takes back every transaction that could not be written, and goes on afterwards', async () => {
    const directory = makeDirectory();
    const store = await openStore(directory);
    await store.transaction((transaction) => transaction.put(counters, ['kept'], { last: 1 }));
    const write = LmdbFile.prototype.write;
    LmdbFile.prototype.write = () => Promise.reject(new Error('No space left on device'));
    try {
      const lost = ['kept', 'new', 'kept'].map((name, index) =>
        store.transaction((transaction) => transaction.put(counters, [name], { last: index + 2 })),
      );
      for (const error of await Promise.all(lost.map(errorOf))) {
        expect([error.code, error.message]).toEqual([
          'STORE_ERROR',
          expect.stringContaining('No space left'),
        ]);
      }
    } finally {
      LmdbFile.prototype.write = write;
    }
    expect(store.list(counters)).toEqual([{ last: 1 }]);
    await store.transaction((transaction) => transaction.put(counters, ['after'], { last: 5 }));
    await store.close();
    expect((await openStore(directory)).list(counters)).toEqual([{ last: 5 }, { last: 1 }]);
  });

  it('fails the transactions that a full disk has no room for, keeps the others and goes on when there is room', async () => {
    const directory = makeDirectory();
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'quantum-test', directory]);
    cleanups.push(() => execFileSync('umount', ['--lazy', directory]));
    const ballast = join(directory, 'ballast');
    writeFileSync(ballast, Buffer.alloc(300_000));
    const store = await openStore(directory);
    const object = { text: 'x'.repeat(50_000) };
    const put = (name: string) =>
      store.transaction((transaction) => {
        transaction.put(policies, ['default', name], {
          kind: 'NetworkPolicy',
          object,
          created_at: NAMESPACE.created_at,
        });
        nextNumber(transaction, 'written');
      });
    let written = 0;
    let refusal: AppError | undefined;
    while (refusal === undefined && written < 100) {
      await put(`p${written}`).then(
        () => written++,
        (error: AppError) => (refusal = error),
      );
    }
    expect(refusal?.code).toBe('STORE_ERROR');
    expect(written).toBeGreaterThan(3);
    expect(store.get(counters, ['written'])).toEqual({ last: written });
    rmSync(ballast);
    await put('after');
    await store.close();
    const again = await openStore(directory);
    expect(again.list(policies)).toHaveLength(written + 1);
    expect(again.get(counters, ['written'])).toEqual({ last: written + 1 });
  });

  it('refuses everything after close', async () => {
    const store = await openStore(makeDirectory());
    await store.close();
    expect(() => store.get(counters, ['a'])).toThrow('closed');
    expect((await errorOf(store.transaction(() => 1))).code).toBe('STORE_ERROR');
  });
});

/** A store with two records, closed; path of its file. */
async function makeFile(directory: string): Promise<string> {
  const store = await EmbeddedStore.open(directory);
  await store.transaction((transaction) => {
    transaction.put(counters, ['endpoint'], { last: 41 });
    transaction.put(namespaces, ['blue'], NAMESPACE);
  });
  await store.close();
  return join(directory, 'store.mdb');
}

async function putRaw(path: string, records: Record<string, string>): Promise<void> {
  const database = openLmdb<string, string>({
    path,
    noSubdir: true,
    encoding: 'string',
    overlappingSync: false,
  });
  for (const [key, value] of Object.entries(records)) await database.put(key, value);
  await database.close();
}

describe('a damaged store', () => {
  it('is refused by the name of the record when one digit of it changed', async () => {
    const directory = makeDirectory();
    const path = await makeFile(directory);
    const bytes = readFileSync(path);
    for (let at = bytes.indexOf('{"last":41}'); at >= 0; at = bytes.indexOf('{"last":41}', at + 1)) {
      bytes.write('{"last":40}', at);
    }
    writeFileSync(path, bytes);
    const error = await errorOf(EmbeddedStore.open(directory));
    expect(error.code).toBe('STORE_DAMAGED');
    expect(error.message).toContain('["counters","endpoint"]');
  });

  const raw: [string, Record<string, string>][] = [
    ['of no table', { '["gone","x"]': encodeValue('["gone","x"]', {}) }],
    [
      'with a key of another form',
      { '["counters","a","b"]': encodeValue('["counters","a","b"]', { last: 1 }) },
    ],
    ['that its schema refuses', { '["counters","a"]': encodeValue('["counters","a"]', { last: 'x' }) }],
    ['under the key of another', { '["counters","a"]': encodeValue('["counters","b"]', { last: 1 }) }],
  ];
  it.each(raw)('is refused when it has a record %s', async (_, records) => {
    const directory = makeDirectory();
    await putRaw(await makeFile(directory), records);
    const error = await errorOf(EmbeddedStore.open(directory));
    expect(error.code).toBe('STORE_DAMAGED');
    expect(error.message).toContain(`record ${Object.keys(records)[0]}`);
  });

  it('is refused when the file is empty, cut off or overwritten', async () => {
    const damages: ((path: string) => void)[] = [
      (path) => truncateSync(path, 0),
      (path) => truncateSync(path, 4096),
      (path) => truncateSync(path, 9000),
      (path) => writeFileSync(path, Buffer.alloc(16384, 0xa5)),
      (path) => writeFileSync(path, readFileSync(path).fill(0xff, 8192)),
      (path) => writeFileSync(path, readFileSync(path).fill(0, 8192)),
    ];
    for (const damage of damages) {
      const directory = makeDirectory();
      const path = await makeFile(directory);
      damage(path);
      const error = await errorOf(EmbeddedStore.open(directory));
      expect([error.code, error.message]).toEqual(['STORE_DAMAGED', expect.stringContaining(path)]);
    }
  }, 60_000);

  it('leaves the lock free for the next attempt', async () => {
    const directory = makeDirectory();
    truncateSync(await makeFile(directory), 0);
    await errorOf(EmbeddedStore.open(directory));
    rmSync(join(directory, 'store.mdb'));
    expect((await openStore(directory)).list(counters)).toEqual([]);
  });

  it('is not opened, and not called damaged, when another version wrote it', async () => {
    const directory = makeDirectory();
    await putRaw(await makeFile(directory), { [VERSION_KEY]: encodeValue(VERSION_KEY, 2) });
    expect((await errorOf(EmbeddedStore.open(directory))).code).toBe('STORE_INCOMPATIBLE');
  });

  it('cannot come from a key that the file could not hold', () => {
    expect(() => encodeKey('counters', ['x'.repeat(2000)])).toThrow('longer than 1978 bytes');
  });
});

/** Runs code beside the compiled store in another process and network namespace; lines are what it prints. */
function startOwner(directory: string, code: string): { child: ChildProcess; lines: AsyncIterator<string> } {
  const script = `
    const { createServer } = await import('vite');
    const vite = await createServer({ server: { middlewareMode: true, watch: null, ws: false }, appType: 'custom', logLevel: 'error', optimizeDeps: { noDiscovery: true } });
    const { EmbeddedStore } = await vite.ssrLoadModule('/src/store/embedded.ts');
    const { counters } = await vite.ssrLoadModule('/src/store/tables.ts');
    const store = await EmbeddedStore.open(${JSON.stringify(directory)});
    ${code}`;
  const child = spawn('unshare', ['-n', process.execPath, '--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  cleanups.push(async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
      await once(child, 'close');
    }
  });
  return { child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() };
}

describe('one owner', () => {
  it('keeps a second store of the same process out', async () => {
    const directory = makeDirectory();
    await openStore(directory);
    const error = await errorOf(EmbeddedStore.open(directory));
    expect(error.code).toBe('ALREADY_RUNNING');
    expect(error.message).toContain(`pid ${process.pid} `);
  });

  it('is named by its pid from another network namespace, and makes room when it is killed', async () => {
    const directory = makeDirectory();
    const { child, lines } = startOwner(directory, "console.log('open'); setInterval(() => {}, 1000);");
    expect(await lines.next()).toEqual({ done: false, value: 'open' });
    const error = await errorOf(EmbeddedStore.open(directory));
    expect(error.code).toBe('ALREADY_RUNNING');
    expect(error.message).toContain(`pid ${child.pid} `);
    child.kill('SIGKILL');
    await once(child, 'exit');
    await openStore(directory);
  }, 30_000);

  it('loses nothing that was resolved, and half of nothing, when it is killed while it writes', async () => {
    const directory = makeDirectory();
    const { child, lines } = startOwner(
      directory,
      `for (let last = 1; ; last++) {
        await store.transaction((transaction) => {
          transaction.put(counters, ['left'], { last });
          transaction.put(counters, ['right'], { last });
        });
        console.log(last);
      }`,
    );
    let resolved = 0;
    while (resolved < 50) resolved = Number((await lines.next()).value);
    child.kill('SIGKILL');
    await once(child, 'exit');
    for (let line = await lines.next(); line.done !== true; line = await lines.next())
      resolved = Number(line.value);
    const store = await openStore(directory);
    const left = store.get(counters, ['left'])?.last ?? 0;
    expect(left).toBeGreaterThanOrEqual(resolved);
    expect(store.get(counters, ['right'])?.last).toBe(left);
  }, 30_000);
});

describe('references of rules', () => {
  const refs: RuleRecord['ref'][] = [
    { kind: 'policy', namespace: 'default', name: 'p', direction: 'ingress', index: 0 },
    { kind: 'policy', namespace: '-', name: 'p', direction: 'ingress', index: 0 },
    { kind: 'policy', namespace: '-', name: 'p', direction: 'egress', index: 0 },
    { kind: 'isolation', network: 'blue', mode: 'full' },
    { kind: 'host-access' },
  ];

  it('of every kind are stored, each with a text of its own', async () => {
    const store = await openStore(makeDirectory());
    await store.transaction((transaction) => {
      for (const [index, ref] of refs.entries()) {
        transaction.put(rules, [index + 1], { cookie: index + 1, ref });
      }
    });
    expect(store.list(rules).map(({ ref }) => ref)).toEqual(refs);
    expect(new Set(refs.map(ruleText)).size).toBe(refs.length);
  });
});
