/** The programs for sockets of the node's own come, stay and go with their cgroup, all of them or none. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { findCgroupRoot } from '../../src/datapath/hooks/cgroup-root.js';
import { LinkPins } from '../../src/datapath/hooks/link-pins.js';
import {
  SOCKET_PROGRAMS,
  SocketHooks,
  type SocketProgramName,
  type SocketPrograms,
} from '../../src/datapath/hooks/socket-hooks.js';
import { BpfLink, BpfObject, type BpfProgram, mountBpffs } from '../../src/native/bpf.js';
import { OBJECT_FOLDER, SOCKET_OBJECT } from '../support/programs.js';

let directory: string;
let links: string;
let pins: LinkPins | undefined;
let cgroups: [string, string];
let programs: SocketPrograms;

beforeEach(async () => {
  const name = `quantum-test-${randomBytes(6).toString('hex')}`;
  directory = join('/sys/fs/bpf', name);
  links = join(directory, 'links');
  mountBpffs(links);
  const root = findCgroupRoot('auto');
  if (!('path' in root)) throw new Error(root.problem);
  cgroups = [join(root.path, `${name}-0`), join(root.path, `${name}-1`)];
  for (const cgroup of cgroups) mkdirSync(cgroup);
  programs = await load();
});
afterEach(() => {
  pins?.[Symbol.dispose]();
  for (const program of Object.values(programs)) program.close();
  for (const cgroup of cgroups) rmdirSync(cgroup);
  rmSync(directory, { recursive: true, force: true });
});

async function load(): Promise<SocketPrograms> {
  using object = BpfObject.open(join(OBJECT_FOLDER, `${SOCKET_OBJECT}.bpf.o`));
  await object.load({ pinRoot: join(directory, 'maps') });
  const entries = SOCKET_PROGRAMS.map((name) => [name, object.program(name)]);
  return Object.fromEntries(entries) as Record<SocketProgramName, BpfProgram>;
}

/** Of the next daemon: the one before lets go of its links. */
function nextPins(): LinkPins {
  pins?.[Symbol.dispose]();
  pins = new LinkPins(links);
  return pins;
}
const hooksOn = (path: string, loaded = programs) => new SocketHooks(loaded, { path }, nextPins());

/** Ids of the links that are on a cgroup with the programs that are expected there. */
function attachedTo(path: string, loaded = programs): number[] {
  return readdirSync(links).flatMap((name) => {
    using link = BpfLink.fromPin(join(links, name));
    const { id, cgroupId, programId } = link.info();
    const isOurs = programId === loaded[name as SocketProgramName].info().id;
    return isOurs && cgroupId === statSync(path).ino ? [id] : [];
  });
}

it('they are attached once, and the next daemon replaces the programs in the same links', async () => {
  expect(hooksOn(cgroups[0]).sync()).toBe(true);
  const before = attachedTo(cgroups[0]);
  expect(before).toHaveLength(SOCKET_PROGRAMS.length);
  expect(hooksOn(cgroups[0]).sync()).toBe(false);
  const next = await load();
  try {
    expect(hooksOn(cgroups[0], next).sync()).toBe(false);
    expect(attachedTo(cgroups[0], next)).toEqual(before);
  } finally {
    for (const program of Object.values(next)) program.close();
  }
});

it('they move to another cgroup, and go where there is none', () => {
  hooksOn(cgroups[0]).sync();
  expect(hooksOn(cgroups[1]).sync()).toBe(true);
  expect(attachedTo(cgroups[0])).toEqual([]);
  expect(attachedTo(cgroups[1])).toHaveLength(SOCKET_PROGRAMS.length);
  new SocketHooks(undefined, { problem: 'none' }, nextPins()).sync();
  expect(readdirSync(links)).toEqual([]);
});

it('one that is missing, detached, or something else in its place is put right', () => {
  const hooks = hooksOn(cgroups[0]);
  hooks.sync();
  rmSync(join(links, 'node_connect4'));
  rmSync(join(links, 'node_recvmsg6'));
  programs.node_recvmsg6.pin(join(links, 'node_recvmsg6'));
  {
    using link = BpfLink.fromPin(join(links, 'node_sendmsg4'));
    link.detach();
  }
  expect(hooks.sync()).toBe(true);
  expect(attachedTo(cgroups[0])).toHaveLength(SOCKET_PROGRAMS.length);
});

it('where another program suffers none beside it, none of ours is attached', () => {
  const [cgroup] = cgroups;
  const pin = join(directory, 'exclusive');
  programs.node_connect6.pin(pin);
  execFileSync('bpftool', ['cgroup', 'attach', cgroup, 'connect6', 'pinned', pin]);
  const hooks = hooksOn(cgroup);
  expect(() => hooks.sync()).toThrow(expect.objectContaining({ code: 'EPERM', object: cgroup }));
  expect(readdirSync(links)).toEqual([]);
  execFileSync('bpftool', ['cgroup', 'detach', cgroup, 'connect6', 'pinned', pin]);
  expect(hooks.sync()).toBe(true);
  expect(attachedTo(cgroup)).toHaveLength(SOCKET_PROGRAMS.length);
});

it('a cgroup that is gone is an error that names it', () => {
  const path = '/nonexistent';
  expect(() => hooksOn(path).sync()).toThrow(path);
});
