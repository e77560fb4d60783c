import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import {
  AttachType,
  attachClsact,
  BpfLink,
  BpfMap,
  type BpfProgram,
  detachClsact,
  LinkType,
  tcxSupported,
} from '../../src/native/bpf.js';
import { ClosedError } from '../../src/native/errors.js';
import { NetnsHandle, Rtnl } from '../../src/native/net.js';
import { queryClsact } from '../support/clsact.js';
import { loadedSample, pinDirectory, thrown, u32 } from './bpf-fixtures.js';

/** TC_ACT_UNSPEC: the next program decides. */
const TCX_NEXT = 0xffffffff;
const PEER = '198.18.0.2';

interface Interfaces extends Disposable {
  run<T>(work: (ifindex: number) => T): T;
  /** Both ends up, with an address. */
  up(): void;
  /** One datagram through the veth; inside of run(). It has passed the programs on return. */
  send(): void;
  remove(): void;
}

/** A network namespace with a veth pair in it; both go on dispose. */
function interfaces(): Interfaces {
  const netns = NetnsHandle.createUnnamed();
  const rtnl = Rtnl.open(netns);
  rtnl.createVeth({ name: 'qn0', peerName: 'qn1' });
  const ifindex = rtnl.link('qn0')?.index ?? 0;
  return {
    run: (work) => netns.run(() => work(ifindex)),
    up() {
      for (const name of ['qn0', 'qn1']) rtnl.setLink(name, { up: true });
      rtnl.addAddress({ index: ifindex, address: '198.18.0.1/24' });
      rtnl.setNeighbour({ index: ifindex, address: PEER, mac: '02:00:00:00:00:02', permanent: true });
    },
    send: () => void execFileSync('bash', ['-c', `echo > /dev/udp/${PEER}/9`]),
    remove: () => void rtnl.deleteLink('qn0'),
    [Symbol.dispose]() {
      rtnl.close();
      netns.close();
    },
  };
}

async function programs(): Promise<Disposable & { first: BpfProgram; second: BpfProgram; xdp: BpfProgram }> {
  using object = await loadedSample();
  const [first, second, xdp] = [
    object.program('first'),
    object.program('second'),
    object.program('drop_all'),
  ];
  return {
    ...{ first, second, xdp },
    [Symbol.dispose]() {
      for (const program of [first, second, xdp]) program.close();
    },
  };
}

/** Kernels before 6.6 have no TCX. */
const tcxTest = test.skipIf(!tcxSupported());

test('attaching TCX works where tcxSupported says so, else it is EOPNOTSUPP', async () => {
  using net = interfaces();
  using loaded = await programs();
  const attach = (ifindex: number): BpfLink =>
    BpfLink.attachTcx({ program: loaded.first, ifindex, direction: 'ingress' });
  if (tcxSupported()) net.run(attach).close();
  else expect(thrown(() => net.run(attach))).toMatchObject({ code: 'EOPNOTSUPP', operation: 'attach TCX' });
});

tcxTest.each(['ingress', 'egress'] as const)(
  'a TCX link tells where it is attached: %s',
  async (direction) => {
    using net = interfaces();
    using loaded = await programs();
    const program = loaded.first;
    net.run((ifindex) => {
      using link = BpfLink.attachTcx({ program, ifindex, direction });
      expect(link.info()).toEqual({
        ...{ id: expect.any(Number), type: LinkType.TCX, programId: program.info().id, ifindex },
        attachType: direction === 'ingress' ? AttachType.TCX_INGRESS : AttachType.TCX_EGRESS,
      });
    });
  },
);

tcxTest('a TCX link survives by its pin, is adopted, updated in place and detached', async () => {
  using net = interfaces();
  using loaded = await programs();
  using pins = pinDirectory();
  mkdirSync(pins.path);
  const path = `${pins.path}/link`;
  const created = net.run((ifindex) =>
    BpfLink.attachTcx({ program: loaded.first, ifindex, direction: 'ingress' }),
  );
  const { id, ifindex } = created.info();
  created.pin(path);
  created.close();

  using adopted = BpfLink.fromPin(path);
  expect(adopted.info()).toMatchObject({ id, ifindex, programId: loaded.first.info().id });
  adopted.update(loaded.second);
  expect(adopted.info()).toMatchObject({ id, ifindex, programId: loaded.second.info().id });
  adopted.detach();
  expect(adopted.info().ifindex).toBe(0);
  expect(thrown(() => adopted.update(loaded.first))).toMatchObject({ code: 'ENOLINK' });
  expect(adopted.unpin(path)).toBe(true);
  expect(thrown(() => BpfLink.fromPin(path))).toMatchObject({ code: 'ENOENT' });
});

test('closing the last handle of an unpinned link ends the attachment', async () => {
  using net = interfaces();
  using loaded = await programs();
  net.run((ifindex) => {
    for (let i = 0; i < 3; i++) {
      BpfLink.attachXdp({ program: loaded.xdp, ifindex, mode: 'generic' }).close();
    }
  });
});

tcxTest('first goes before those that are there, last behind them', async () => {
  using net = interfaces();
  using object = await loadedSample({ verdict: TCX_NEXT });
  using counting = object.program('first');
  using ending = object.program('second');
  using runs = object.map('runs');
  const countedRuns = (): number => Buffer.from(runs.get(u32(0)) ?? []).reduce((sum, byte) => sum + byte, 0);
  net.up();
  net.run((ifindex) => {
    const at = { ifindex, direction: 'egress' } as const;
    using _middle = BpfLink.attachTcx({ program: counting, ...at });
    {
      using _tail = BpfLink.attachTcx({ program: ending, ...at, position: 'last' });
      net.send();
      expect(countedRuns()).toBeGreaterThan(0);
    }
    using _head = BpfLink.attachTcx({ program: ending, ...at, position: 'first' });
    const before = countedRuns();
    net.send();
    expect(countedRuns()).toBe(before);
  });
});

tcxTest('the same program twice at one place is EEXIST', async () => {
  using net = interfaces();
  using loaded = await programs();
  net.run((ifindex) => {
    const options = { program: loaded.first, ifindex, direction: 'ingress' } as const;
    using _link = BpfLink.attachTcx(options);
    expect(thrown(() => BpfLink.attachTcx(options))).toMatchObject({ code: 'EEXIST' });
  });
});

tcxTest('when the interface goes, its links tell ifindex 0', async () => {
  using net = interfaces();
  using loaded = await programs();
  const at = { direction: 'ingress', program: loaded.first } as const;
  using link = net.run((ifindex) => BpfLink.attachTcx({ ifindex, ...at }));
  net.remove();
  expect(link.info().ifindex).toBe(0);
});

tcxTest('an interface that is not there is a KernelError that names it', async () => {
  using net = interfaces();
  using loaded = await programs();
  const at = { program: loaded.first, ifindex: 99999, direction: 'ingress' } as const;
  const error = thrown(() => net.run(() => BpfLink.attachTcx(at)));
  expect(error).toMatchObject({ name: 'KernelError', code: 'ENODEV', object: 'ifindex 99999' });
});

tcxTest('a program of the wrong type is a KernelError', async () => {
  using net = interfaces();
  using loaded = await programs();
  net.run((ifindex) => {
    const at = { program: loaded.xdp, ifindex, direction: 'ingress' } as const;
    expect(thrown(() => BpfLink.attachTcx(at))).toMatchObject({ code: 'EINVAL', operation: 'attach TCX' });
  });
});

test('XDP is attached in generic and in native mode, once per interface', async () => {
  using net = interfaces();
  using loaded = await programs();
  net.run((ifindex) => {
    for (const mode of ['generic', 'native'] as const) {
      using link = BpfLink.attachXdp({ program: loaded.xdp, ifindex, mode });
      expect(link.info()).toMatchObject({ type: LinkType.XDP, programId: loaded.xdp.info().id, ifindex });
      expect(thrown(() => BpfLink.attachXdp({ program: loaded.xdp, ifindex, mode }))).toMatchObject({
        ...{ code: 'EBUSY', operation: 'attach XDP' },
      });
    }
  });
});

test('a pin of another kind is no link', async () => {
  using pins = pinDirectory();
  using object = await loadedSample({ pinRoot: pins.path });
  expect(thrown(() => BpfLink.fromPin(`${pins.path}/pinned`))).toMatchObject({ code: 'EINVAL' });
  using map = BpfMap.fromPin(`${pins.path}/pinned`);
  expect(map.closed || object.closed).toBe(false);
});

tcxTest('a closed link throws ClosedError', async () => {
  using net = interfaces();
  using loaded = await programs();
  const link = net.run((ifindex) =>
    BpfLink.attachTcx({ program: loaded.first, ifindex, direction: 'egress' }),
  );
  link.close();
  link.close();
  const uses = [
    () => link.info(),
    () => link.update(loaded.first),
    () => link.detach(),
    () => link.pin('/x'),
  ];
  for (const use of uses) expect(use).toThrow(ClosedError);
});

test.each(['ingress', 'egress'] as const)(
  'a clsact filter is attached, replaced, detached: %s',
  async (direction) => {
    using net = interfaces();
    using loaded = await programs();
    const { first, second } = loaded;
    net.run((ifindex) => {
      const place = { ifindex, direction };
      expect(queryClsact(place)).toBeUndefined();
      expect(detachClsact(place)).toBe(false);
      attachClsact({ ...place, program: first });
      expect(queryClsact(place)).toEqual({ programId: first.info().id });
      attachClsact({ ...place, program: second });
      expect(queryClsact(place)).toEqual({ programId: second.info().id });
      expect(detachClsact(place)).toBe(true);
      expect(detachClsact(place)).toBe(false);
      expect(queryClsact(place)).toBeUndefined();
    });
  },
);

test('clsact filters with other handles or priorities, or of the other direction, are left alone', async () => {
  using net = interfaces();
  using loaded = await programs();
  const { first, second } = loaded;
  net.run((ifindex) => {
    const ours = { ifindex, direction: 'ingress' } as const;
    const others = [
      { ...ours, handle: 1 },
      { ...ours, priority: 2 },
      { ...ours, direction: 'egress' },
    ] as const;
    for (const other of others) attachClsact({ ...other, program: second });
    attachClsact({ ...ours, program: first });
    expect(detachClsact(ours)).toBe(true);
    for (const other of others) expect(queryClsact(other)).toEqual({ programId: second.info().id });
  });
});

test('clsact on an interface that is not there is a KernelError', async () => {
  using net = interfaces();
  using loaded = await programs();
  const at = { program: loaded.first, ifindex: 99999, direction: 'ingress' } as const;
  const error = thrown(() => net.run(() => attachClsact(at)));
  expect(error).toMatchObject({ code: 'ENODEV', object: 'ingress of ifindex 99999' });
  expect(() => attachClsact({ ...at, priority: 65536 })).toThrow(RangeError);
  expect(() => attachClsact({ ...at, handle: 0 })).toThrow(RangeError);
});
