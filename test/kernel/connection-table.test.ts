/** What is read of the connection table, and that a flush removes the records that were picked and no other. */
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { u32 } from '../../src/datapath/abi/codec.js';
import { ConntrackEntry, ConntrackKey, ConntrackSweep } from '../../src/datapath/abi/generated.js';
import { ConnectionTable } from '../../src/datapath/connection-table.js';
import { ConntrackSweeper } from '../../src/datapath/conntrack-sweeper.js';
import { TypedMap } from '../../src/datapath/typed-map.js';
import { type BpfMap, BpfObject, type BpfProgram } from '../../src/native/bpf.js';
import { stateOf } from '../../src/vnet/nat/connections.js';
import { TCP } from '../support/packet.js';
import { OBJECT_FOLDER, Programs } from '../support/programs.js';
import { Scenario } from '../support/scenario.js';
import { outgoing } from '../support/scenario-frames.js';
import { addressOf, FAMILIES, type TestEndpoint, WORLD } from '../support/scenario-parties.js';

/** Above all that have a meaning. */
const FIRST = 10_000;

let s: Scenario;
let program: BpfProgram;
let wanted: BpfMap;
let sweeper: ConntrackSweeper;
let table: ConnectionTable;
beforeAll(async () => {
  s = new Scenario(await Programs.load({ settings: { events_burst: 1_000_000 } }));
  using object = BpfObject.open(join(OBJECT_FOLDER, 'conntrack_sweep.bpf.o'));
  s.programs.fitMaps(object);
  await object.load({ pinRoot: s.programs.pinRoot });
  program = object.program('conntrack_sweep');
  wanted = object.map('flush');
  const results = new TypedMap(s.programs.map('qn_sweep'), u32, ConntrackSweep);
  sweeper = new ConntrackSweeper(program, results, wanted);
  table = new ConnectionTable(
    new TypedMap(s.programs.map('qn_conntrack'), ConntrackKey, ConntrackEntry),
    sweeper,
  );
});
afterAll(() => {
  program?.close();
  wanted?.close();
  s?.programs.close();
});
beforeEach(() => {
  s.reset();
  s.allowAll();
  s.masquerade(s.c);
});

const records = () => s.programs.conntrack.entries().map(({ value }) => value);
async function readAll(): Promise<ConntrackEntry[]> {
  const found: ConntrackEntry[] = [];
  for await (const piece of table.pieces()) found.push(...piece);
  return found;
}

describe.each(FAMILIES)('IPv%i', (family) => {
  const udp = (from: TestEndpoint, to: TestEndpoint, sourcePort: number) =>
    s.send(from, outgoing(from, addressOf(to, family)).udp({ sourcePort }));

  it('every record is read once', async () => {
    for (let port = FIRST; port < FIRST + 3000; port++) udp(s.a, s.b, port);
    const ports = (await readAll()).map(({ key }) => (key.portA === 53 ? key.portB : key.portA));
    expect(ports.sort((left, right) => left - right)).toEqual(
      Array.from({ length: 3000 }, (_, at) => FIRST + at),
    );
  });

  it('a flush removes what is picked, with its account, and leaves the rest', async () => {
    for (let port = FIRST; port < FIRST + 1500; port++) udp(s.a, s.b, port);
    const isPicked = ({ key }: ConntrackEntry) => Math.max(key.portA, key.portB) >= FIRST + 100;
    expect(await table.flush(isPicked)).toBe(1400);
    expect(records()).toHaveLength(100);
    expect(records().some(isPicked)).toBe(false);
    expect(s.programs.flowCounts.get(s.a.id)).toMatchObject({ flows: 100 });
    expect([...wanted.keys()]).toEqual([]);
    expect(await table.flush(isPicked)).toBe(0);
  });

  it('takes the alias of a translated record with it', async () => {
    s.send(s.c, outgoing(s.c, WORLD[family]).udp({ sourcePort: 7 }));
    expect(s.programs.nat.entries()).toHaveLength(1);
    expect(await table.flush(() => true)).toBe(1);
    expect([records(), s.programs.nat.entries()]).toEqual([[], []]);
  });

  it('leaves a record that took the place of the one that was read', async () => {
    udp(s.a, s.b, 7);
    const [before] = records();
    if (before === undefined) throw new Error('no record');
    s.programs.conntrack.clear();
    udp(s.a, s.b, 7);
    expect(await sweeper.flush([before])).toBe(0);
    expect(records()).toHaveLength(1);
  });

  it("a connection that was flushed is nobody's, and opens anew by its first packet alone", async () => {
    const tcp = (from: TestEndpoint, to: TestEndpoint, flags: number, ports: object) =>
      s.send(from, outgoing(from, addressOf(to, family)).tcp({ flags, ...ports }));
    const there = { sourcePort: 40000, destinationPort: 80 };
    const back = { sourcePort: 80, destinationPort: 40000 };
    const state = () => records().map(stateOf);
    tcp(s.a, s.b, TCP.SYN, there);
    expect(state()).toEqual(['opening']);
    tcp(s.b, s.a, TCP.SYN | TCP.ACK, back);
    tcp(s.a, s.b, TCP.ACK, there);
    expect(state()).toEqual(['established']);
    tcp(s.a, s.b, TCP.FIN | TCP.ACK, there);
    expect(state()).toEqual(['closing']);
    tcp(s.b, s.a, TCP.FIN | TCP.ACK, back);
    expect(state()).toEqual(['closed']);
    expect(await table.flush(() => true)).toBe(1);
    expect(tcp(s.a, s.b, TCP.ACK, there).reason).toBe('NO_CONNECTION');
    expect(tcp(s.a, s.b, TCP.SYN, there).reason).toBe('NONE');
  });
});

it('flushes and sweeps take turns, and each tells what it did itself', async () => {
  for (let port = FIRST; port < FIRST + 50; port++)
    s.send(s.a, outgoing(s.a, addressOf(s.b, 4)).udp({ sourcePort: port }));
  s.send(s.c, outgoing(s.c, WORLD[4]).udp());
  const [first, flushed, second] = await Promise.all([
    sweeper.sweep(),
    sweeper.flush(records().filter(({ endpointId }) => endpointId[0] === s.a.id)),
    sweeper.sweep(),
  ]);
  expect([first, flushed, second]).toEqual([
    { scanned: 51, expired: 0, cut: 0 },
    50,
    { scanned: 1, expired: 0, cut: 0 },
  ]);
  expect([sweeper.records, sweeper.aliases]).toEqual([1, 1]);
});
