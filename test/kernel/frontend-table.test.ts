/** Frontends, their slots and backends in real maps: written so that readers always find something whole, kept over a restart. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { u32 } from '../../src/datapath/abi/codec.js';
import { Backend, Frontend, FrontendKey, MAPS } from '../../src/datapath/abi/generated.js';
import { keyOf } from '../../src/datapath/frontend-encoding.js';
import { FrontendTable } from '../../src/datapath/frontend-table.js';
import { TypedMap } from '../../src/datapath/typed-map.js';
import { type FrontendState, type Target, targetText } from '../../src/nat/frontend.js';
import { BpfMap } from '../../src/native/bpf.js';
import { waitForPrograms } from '../../src/native/rcu.js';
import { mappedAddress } from '../support/packet.js';

const SIZES = { frontends: 16, slots: 2048, backends: 32 };

const create = (name: 'qn_frontends' | 'qn_slots' | 'qn_backends', maxEntries: number) =>
  BpfMap.create({ ...MAPS[name], maxEntries });

let maps: ReturnType<typeof openMaps>;
function openMaps() {
  return {
    frontends: new TypedMap(create('qn_frontends', SIZES.frontends), FrontendKey, Frontend),
    slots: new TypedMap(create('qn_slots', SIZES.slots), u32, u32),
    backends: new TypedMap(create('qn_backends', SIZES.backends), u32, Backend),
  };
}
let table: FrontendTable;
/** How many backends were somebody's, each time when others were told to be no more. */
let told: Promise<number>[];
beforeEach(async () => {
  told = [];
  maps = openMaps();
  table = await opened();
});
afterEach(async () => {
  await table.settled();
  for (const { raw } of Object.values(maps)) raw.close();
});

/** As a daemon that starts does it. */
async function opened(wanted: readonly FrontendState[] = []): Promise<FrontendTable> {
  const made = new FrontendTable(maps, waitForPrograms, () => told.push(owned()));
  await made.sync(wanted);
  return made;
}

const targets = (count: number): Target[] =>
  Array.from({ length: count }, (_, index) => ({ address: `10.0.0.${index + 1}`, port: 8080 }));
const service = (backends: readonly Target[], more: Partial<FrontendState> = {}): FrontendState => ({
  ...{
    id: 7,
    protocol: 'TCP',
    port: 80,
    family: 4,
    address: '10.96.0.1',
    affinitySeconds: 0,
    isServiceAddress: true,
  },
  ...more,
  backends,
});
const put = (...states: FrontendState[]) => table.change({ put: states, remove: [] });
const remove = (...states: FrontendState[]) => table.change({ put: [], remove: states });

/** Where a reader ends for each slot; throws when it finds something that is not whole. */
function followed(state: FrontendState): string[] {
  const frontend = maps.frontends.get(keyOf(state));
  if (frontend === undefined) throw new Error('no frontend');
  return Array.from({ length: frontend.slots }, (_, slot) => {
    const backend = maps.backends.get(maps.slots.get(frontend.first + slot) ?? -1);
    expect(backend?.frontendId).toBe(frontend.id);
    const address = Buffer.from(backend?.address ?? []).toString('hex');
    return `${address}:${backend?.port}`;
  });
}
const followedTo = (state: FrontendState) => [...new Set(followed(state))].sort();
const expected = (backends: readonly Target[]) =>
  backends
    .map(({ address, port }) => `${Buffer.from(mappedAddress(address)).toString('hex')}:${port}`)
    .sort();

async function owned(): Promise<number> {
  return (await maps.backends.entries()).filter(([, { frontendId }]) => frontendId !== 0).length;
}

describe('a frontend', () => {
  it('leads to all of its backends', async () => {
    const state = service(targets(3), { affinitySeconds: 60 });
    await put(state);
    expect(followedTo(state)).toEqual(expected(targets(3)));
    expect(maps.frontends.get(keyOf(state))).toMatchObject({ id: 7, slots: 421, affinityS: 60 });
  });

  it('of every address of the node has an entry for the family that its backends are of', async () => {
    const every4 = service(targets(1), { id: 1, address: undefined });
    const every6 = service([{ address: 'fd00::1', port: 1 }], { id: 2, address: undefined, family: 6 });
    await put(every4, every6);
    const keys = (await maps.frontends.entries()).map(([{ address }]) =>
      Buffer.from(address).toString('hex'),
    );
    expect(keys.sort()).toEqual(['0'.repeat(32), `${'0'.repeat(20)}ffff${'0'.repeat(8)}`]);
    await remove(every4);
    expect(followedTo(every6)).toHaveLength(1);
  });

  it('without a backend is there, so that clients are refused', async () => {
    const state = service([]);
    await put(state);
    expect(maps.frontends.get(keyOf(state))).toMatchObject({ slots: 0 });
    await put(service(targets(2)));
    expect(followedTo(state)).toEqual(expected(targets(2)));
    await put(service([]));
    expect(maps.frontends.get(keyOf(state))).toMatchObject({ slots: 0 });
  });

  it('that has lost a backend tells so once nobody can choose it, and else not', async () => {
    await put(service(targets(3)));
    await put(service(targets(4)));
    await table.settled();
    expect(told).toEqual([]);
    await put(service(targets(2)));
    await table.settled();
    expect(await Promise.all(told)).toEqual([2]);
  });

  it('that has all its backends is not touched', async () => {
    await put(service(targets(3)));
    const before = maps.frontends.get(keyOf(service([])));
    await put(service(targets(3).reverse()));
    expect(maps.frontends.get(keyOf(service([])))).toEqual(before);
  });

  it('that is gone leaves nothing', async () => {
    const state = service(targets(3));
    await put(state);
    await remove(state);
    await table.settled();
    expect(await maps.frontends.entries()).toEqual([]);
    expect(await owned()).toBe(0);
  });
});

describe('a change of backends', () => {
  it('moves no slot but those of the one that goes, and leaves the frontend as it is', async () => {
    const state = service(targets(4));
    await put(state);
    const before = followed(state);
    const frontend = maps.frontends.get(keyOf(state));
    await put(service(targets(3)));
    const after = followed(state);
    const [gone] = expected([{ address: '10.0.0.4', port: 8080 }]);
    expect(after.filter((to, slot) => before[slot] !== gone && before[slot] !== to)).toEqual([]);
    expect(after).not.toContain(gone);
    expect(maps.frontends.get(keyOf(state))).toEqual(frontend);
  });

  it('disowns the place of the one that goes, and gives it away later', async () => {
    await put(service(targets(2)));
    await put(service(targets(1)));
    await table.settled();
    expect(await owned()).toBe(1);
    for (let round = 0; round < 3; round++) {
      await put(service([{ address: `10.0.1.${round}`, port: 1 }]));
      await table.settled();
    }
    expect(await owned()).toBe(1);
  });

  it('that needs a larger part is in force with one write', async () => {
    const state = service(targets(2));
    await put(state);
    const before = maps.frontends.get(keyOf(state));
    await put(service(targets(5)));
    const after = maps.frontends.get(keyOf(state));
    expect(after?.first).not.toBe(before?.first);
    expect(followedTo(state)).toEqual(expected(targets(5)));
  });

  it('under another id shares no backend with what was there', async () => {
    await put(service(targets(2)));
    const state = service(targets(2), { id: 8 });
    await put(state);
    expect(followedTo(state)).toEqual(expected(targets(2)));
    await table.settled();
    expect(await owned()).toBe(2);
  });
});

describe('when room is short', () => {
  it('a change is refused as a whole: places of backends', async () => {
    await put(service(targets(20)));
    const other = service(targets(13), { id: 8, port: 81 });
    const small = service(targets(1), { id: 9, port: 82 });
    await expect(put(small, other)).rejects.toMatchObject({ code: 'INSUFFICIENT_CAPACITY' });
    expect(await maps.frontends.entries()).toHaveLength(1);
    expect(followedTo(service([]))).toEqual(expected(targets(20)));
    await put(small, service(targets(11), { id: 8, port: 81 }));
    expect(followedTo(other)).toHaveLength(11);
  });

  it('a change is refused as a whole: frontends', async () => {
    const states = Array.from({ length: SIZES.frontends + 1 }, (_, index) =>
      service(targets(1), { id: index + 1, port: index + 1 }),
    );
    await expect(put(...states)).rejects.toMatchObject({ code: 'INSUFFICIENT_CAPACITY' });
    expect(await maps.frontends.entries()).toEqual([]);
    await put(...states.slice(1));
    expect(await maps.frontends.entries()).toHaveLength(SIZES.frontends);
  });

  it('a table is smaller than it should be, and all backends are in it', async () => {
    await put(service(targets(8)), service(targets(8), { id: 8, port: 81 }));
    const third = service(targets(8), { id: 9, port: 82 });
    await put(third);
    expect(maps.frontends.get(keyOf(third))?.slots).toBeLessThan(800);
    expect(followedTo(third)).toEqual(expected(targets(8)));
  });

  it('a change waits for what the one before it gave up', async () => {
    for (let round = 0; round < 6; round++) {
      const state = service(targets(30), { id: round + 1, port: round + 1 });
      await put(state);
      expect(followedTo(state)).toEqual(expected(targets(30)));
      await remove(state);
    }
  });
});

describe('a daemon that starts', () => {
  it('adopts what it finds, slot for slot', async () => {
    const states = [
      service(targets(4)),
      service(targets(1), { id: 8, port: 81 }),
      service([], { id: 9, port: 82 }),
    ];
    await put(...states);
    await put(service(targets(3)));
    const wanted = [service(targets(3)), ...states.slice(1)];
    await table.settled();
    const before = await snapshot();
    table = await opened(wanted);
    expect(await snapshot()).toEqual(before);
    await put(service(targets(4)));
    expect(followedTo(wanted[0] as FrontendState)).toEqual(expected(targets(4)));
  });

  it('removes what is not wanted, and makes what is missing', async () => {
    await put(service(targets(2)), service(targets(2), { id: 8, port: 81 }));
    const wanted = service(targets(3), { id: 9, port: 82 });
    table = await opened([service(targets(2)), wanted]);
    await table.settled();
    expect(await maps.frontends.entries()).toHaveLength(2);
    expect(followedTo(wanted)).toEqual(expected(targets(3)));
    expect(await owned()).toBe(5);
  });

  it('repairs slots that another has left half written', async () => {
    const state = service(targets(3));
    await put(state);
    const { first = 0 } = maps.frontends.get(keyOf(state)) ?? {};
    const own = maps.slots.get(first + 3) ?? 0;
    for (let slot = 0; slot < 200; slot++) maps.slots.set(first + slot, own);
    maps.slots.set(first + 300, 31);
    table = await opened([state]);
    expect(followedTo(state)).toEqual(expected(targets(3)));
    const all = followed(state);
    const shares = followedTo(state).map((to) => all.filter((other) => other === to).length);
    expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(1);
  });

  it('disowns backends that nothing leads to, and drops frontends that cannot be', async () => {
    const key = { ...keyOf(service([])), protocol: 99 };
    maps.frontends.set(key, {
      key,
      id: 3,
      first: 0,
      slots: 1,
      affinityS: 0,
      flags: 0,
    });
    const beyond = keyOf(service([], { port: 9 }));
    maps.frontends.set(beyond, {
      ...{
        key: beyond,
        id: 4,
        first: SIZES.slots - 1,
        slots: 2,
        affinityS: 0,
        flags: 0,
      },
    });
    maps.backends.set(5, { frontendId: 4, address: mappedAddress('10.0.0.1'), port: 1 });
    table = await opened();
    expect(await maps.frontends.entries()).toEqual([]);
    expect(await owned()).toBe(0);
  });
});

async function snapshot() {
  return {
    frontends: await maps.frontends.entries(),
    slots: await maps.slots.entries(),
    backends: (await maps.backends.entries()).filter(([, { frontendId }]) => frontendId !== 0),
  };
}

it('places are named by their text', () => {
  expect(targetText({ address: 'fd00::1', port: 80 })).toBe('[fd00::1]:80');
});
