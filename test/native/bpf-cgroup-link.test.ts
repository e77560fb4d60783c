import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, rmdirSync, statSync } from 'node:fs';
import { expect, test } from 'vitest';
import { findCgroupRoot } from '../../src/datapath/hooks/cgroup-root.js';
import { AttachType, BpfLink, BpfObject, type BpfProgram, LinkType } from '../../src/native/bpf.js';
import { ClosedError } from '../../src/native/errors.js';
import { compiled, pinDirectory, thrown } from './bpf-fixtures.js';

const CONNECT4 = { attachType: AttachType.CGROUP_INET4_CONNECT };

interface Cgroup extends Disposable {
  readonly path: string;
  readonly id: number;
  /** What bash says of a connection to a port where nobody listens. */
  connect(): string;
  remove(): void;
}

/** A cgroup of the test's own, below the root. */
function cgroup(): Cgroup {
  const root = findCgroupRoot('auto');
  if (!('path' in root)) throw new Error(root.problem);
  const path = `${root.path}/qn-test-${randomBytes(6).toString('hex')}`;
  mkdirSync(path);
  let isThere = true;
  const remove = () => {
    if (isThere) rmdirSync(path);
    isThere = false;
  };
  return {
    path,
    id: statSync(path).ino,
    connect() {
      const script = `echo $$ > ${path}/cgroup.procs && exec 3<>/dev/tcp/127.0.0.1/1`;
      return spawnSync('unshare', ['-n', 'bash', '-c', `ip link set lo up; ${script}`]).stderr.toString();
    },
    remove,
    [Symbol.dispose]: remove,
  };
}

async function programs(): Promise<
  Disposable & { refuse: BpfProgram; unreachable: BpfProgram; other: BpfProgram }
> {
  using object = BpfObject.open(compiled('sockets'));
  await object.load();
  const [refuse, unreachable, other] = [
    object.program('refuse'),
    object.program('unreachable'),
    object.program('other_hook'),
  ];
  return {
    ...{ refuse, unreachable, other },
    [Symbol.dispose]() {
      for (const program of [refuse, unreachable, other]) program.close();
    },
  };
}

test('a program on a cgroup is asked of its processes, and its link tells where it is', async () => {
  using group = cgroup();
  using loaded = await programs();
  const program = loaded.unreachable;
  expect(group.connect()).toContain('Connection refused');
  {
    using link = BpfLink.attachCgroup({ program, path: group.path, ...CONNECT4 });
    expect(link.info()).toEqual({
      ...{ id: expect.any(Number), type: LinkType.CGROUP, programId: program.info().id },
      ...{ cgroupId: group.id, ...CONNECT4 },
    });
    expect(group.connect()).toContain('No route to host');
  }
  expect(group.connect()).toContain('Connection refused');
});

test('it survives by its pin, is adopted, updated in place and detached', async () => {
  using group = cgroup();
  using loaded = await programs();
  using pins = pinDirectory();
  mkdirSync(pins.path);
  const path = `${pins.path}/link`;
  const created = BpfLink.attachCgroup({ program: loaded.refuse, path: group.path, ...CONNECT4 });
  const { id } = created.info();
  created.pin(path);
  created.close();

  using adopted = BpfLink.fromPin(path);
  expect(adopted.info()).toMatchObject({ id, programId: loaded.refuse.info().id });
  adopted.update(loaded.unreachable);
  expect(adopted.info()).toMatchObject({ id, programId: loaded.unreachable.info().id, cgroupId: group.id });
  expect(group.connect()).toContain('No route to host');
  adopted.detach();
  expect(adopted.info().cgroupId).toBe(0);
  expect(group.connect()).toContain('Connection refused');
  expect(thrown(() => adopted.update(loaded.refuse))).toMatchObject({ code: 'ENOLINK' });
});

test('when the cgroup goes, its links tell 0', async () => {
  using group = cgroup();
  using loaded = await programs();
  using link = BpfLink.attachCgroup({ program: loaded.refuse, path: group.path, ...CONNECT4 });
  group.remove();
  await expect.poll(() => link.info().cgroupId).toBe(0);
});

test('programs of others stay, and each of them is asked', async () => {
  using group = cgroup();
  using loaded = await programs();
  using _theirs = BpfLink.attachCgroup({ program: loaded.unreachable, path: group.path, ...CONNECT4 });
  {
    using _ours = BpfLink.attachCgroup({ program: loaded.refuse, path: group.path, ...CONNECT4 });
    expect(group.connect()).toContain('Connection refused');
  }
  expect(group.connect()).toContain('No route to host');
});

test('what is no cgroup, is not there, or is another hook, is a KernelError that says so', async () => {
  using group = cgroup();
  using loaded = await programs();
  const attach = (path: string, program = loaded.refuse) =>
    thrown(() => BpfLink.attachCgroup({ program, path, ...CONNECT4 }));
  const operation = 'attach to cgroup';
  expect(attach('/nonexistent')).toMatchObject({ code: 'ENOENT', operation, object: '/nonexistent' });
  expect(attach('/tmp')).toMatchObject({ code: 'EBADF', operation, object: '/tmp' });
  expect(attach('/etc/passwd')).toMatchObject({ code: 'ENOTDIR' });
  expect(attach(group.path, loaded.other)).toMatchObject({ code: 'EINVAL', object: group.path });
});

test('wrong arguments are refused', async () => {
  using group = cgroup();
  using loaded = await programs();
  const attach = (path: unknown, attachType: unknown) => () =>
    BpfLink.attachCgroup({ program: loaded.refuse, path, attachType } as never);
  expect(attach(1, 10)).toThrow(TypeError);
  expect(attach('/x\0', 10)).toThrow(TypeError);
  expect(attach(group.path, -1)).toThrow(RangeError);
  loaded.refuse.close();
  expect(attach(group.path, 10)).toThrow(ClosedError);
});
