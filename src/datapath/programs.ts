/**
 * Loads the BPF programs. Their maps are pinned below `<bpffs_dir>/maps` and shared with the programs that an
 * earlier daemon left running; programs themselves are loaded anew at each start and then put in the place of
 * the old ones, link by link.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { AppError } from '../model/errors.js';
import type { Settings } from '../model/settings.js';
import { BpfMap, BpfObject, BpfProgram, mountBpffs, tcxSupported } from '../native/bpf.js';
import { KernelError } from '../native/errors.js';
import { NetnsHandle } from '../native/net.js';
import { isRealtimeKernel } from '../native/realtime.js';
import { u64 } from './abi/codec.js';
import { CONFIG } from './abi/generated.js';
import type { CgroupRoot } from './hooks/cgroup-root.js';
import { SOCKET_PROGRAMS, type SocketPrograms } from './hooks/socket-hooks.js';
import { type MapName, nodeMemory, sizedFor, wantedSizes } from './map-sizes.js';
import { type DatapathMaps, openMaps } from './maps.js';
import { requirePrivate } from './private-directory.js';

/** Where the build puts the object files. */
const OBJECTS = new URL('../../bpf/build/', import.meta.url);
const PROGRAMS = ['from_container', 'to_container', 'from_uplink', 'uplink_xdp', 'conntrack_sweep'] as const;
/** Attached by TCX links alone: a filter on an interface of the container is the container's to remove. */
const TCX_PROGRAMS = ['leave_container'] as const;
type ProgramName = (typeof PROGRAMS | typeof TCX_PROGRAMS)[number];
/** One object with a program for each hook. */
const SOCKET_OBJECT = 'node_connect';
/** One without any. */
const MAPS_OBJECT = 'tables';

/** See bpf/lib/secret_random.h. */
const RANDOM_SECRET_BYTES = 16;

/** Values of the variables in .rodata, by name. */
type Variables = Readonly<Record<keyof typeof CONFIG, number>>;

export interface Programs extends Disposable {
  readonly fromContainer: BpfProgram;
  readonly toContainer: BpfProgram;
  /** Undefined: the kernel has no TCX links. */
  readonly leaveContainer: BpfProgram | undefined;
  readonly fromUplink: BpfProgram;
  readonly uplinkXdp: BpfProgram;
  readonly conntrackSweep: BpfProgram;
  /** What conntrackSweep is to remove: no other program has it. */
  readonly flush: BpfMap;
  /** Undefined: there is no cgroup to attach them to. */
  readonly sockets: SocketPrograms | undefined;
  readonly maps: DatapathMaps;
  /** Sizes that a setting asks for and that a map from before does not have; in force after a restart of the node. */
  readonly deferredSizes: { map: string; wanted: number; actual: number }[];
}

/** Those that stand in line with programs of others. */
export const LINED_UP = ['from_container', 'to_container', 'leave_container', 'from_uplink'] as const;

/**
 * Another copy of a program that loadPrograms() has loaded, which stands in for it: with its very maps, whose pins somebody may
 * have removed or replaced. Throws KERNEL_UNSUPPORTED.
 */
export async function loadCopy(
  name: (typeof LINED_UP)[number],
  original: BpfProgram,
  asked: Settings,
  pins: PinDirectories,
): Promise<BpfProgram> {
  const settings = sized(asked, pins);
  using object = await loadObject(name, valuesOf({ ...settings, explain: 0, stands_in: 1 }), original);
  return object.program(name);
}

export interface PinDirectories {
  maps: string;
  links: string;
}

/** Makes the directories of the pins; mounts a BPF file system where there is none. KERNEL_UNSUPPORTED. */
export function preparePins(bpffsDir: string): PinDirectories {
  const pins = { maps: `${bpffsDir}/maps`, links: `${bpffsDir}/links` };
  try {
    // Not by Node's recursive mkdir, which never ends in file systems such as /sys where nothing can be made.
    mountBpffs(bpffsDir);
    for (const directory of [pins.maps, pins.links]) mountBpffs(directory);
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    throw new AppError('KERNEL_UNSUPPORTED', `no pins can be kept in ${bpffsDir}: ${error.message}`, {
      cause: error,
      hint: 'bpffs_dir must be a directory in a BPF file system, or where one can be mounted',
    });
  }
  for (const directory of [bpffsDir, pins.maps, pins.links]) requirePrivate(directory);
  return pins;
}

/** Takes away what preparePins() and loadPrograms() made, unless something is attached, which would be set free. */
export function removePins(bpffsDir: string, pins: PinDirectories): void {
  if (readdirSync(pins.links).length > 0) return;
  for (const directory of [pins.maps, pins.links]) rmSync(directory, { recursive: true, force: true });
  try {
    rmdirSync(bpffsDir);
  } catch {
    // A mount point, or with something of somebody else's in it.
  }
}

/** Throws AppError KERNEL_UNSUPPORTED (with the kernel's own words in the cause) when a program does not load. */
export async function loadPrograms(
  asked: Settings,
  pins: PinDirectories,
  cgroup: CgroupRoot = { problem: 'no hooks of sockets are asked for' },
): Promise<Programs> {
  if (isRealtimeKernel()) {
    throw new AppError('KERNEL_UNSUPPORTED', 'the kernel is a realtime one (PREEMPT_RT)', {
      hint: 'start a kernel without PREEMPT_RT: on this one packets of one processor interrupt each other',
    });
  }
  const settings = sized(asked, pins);
  const sizes = wantedSizes(settings);
  const deferredSizes: Programs['deferredSizes'] = [];
  for (const [map, wanted] of sizes) {
    const actual = pinnedSize(`${pins.maps}/${map}`);
    if (actual === undefined || actual === wanted) continue;
    deferredSizes.push({ map, wanted, actual });
    sizes.set(map, actual);
  }

  const loaded = new Map<ProgramName, BpfProgram>();
  let flush: BpfMap | undefined;
  let sockets: SocketPrograms | undefined;
  const close = () => {
    for (const program of [...loaded.values(), ...Object.values(sockets ?? {})]) program.close();
    flush?.close();
  };
  const variables = { ...settings, explain: 0, stands_in: 0 };
  const load = async (name: ProgramName) => {
    using object = await loadObject(name, valuesOf(variables), { sizes, pins });
    loaded.set(name, object.program(name));
    if (name === 'conntrack_sweep') flush = object.map('flush');
  };
  const loadSockets = async () => {
    sockets = await loadSocketPrograms(variables, sizes, pins);
  };
  try {
    await makeMaps(sizes, pins);
    const names = tcxSupported() ? [...PROGRAMS, ...TCX_PROGRAMS] : PROGRAMS;
    // At once: together they take the verifier most of a second, of one processor each.
    await allDone([...names.map(load), ...('path' in cgroup ? [loadSockets()] : [])]);
    if (flush === undefined) throw new AppError('INTERNAL', 'conntrack_sweep was not loaded');
    const own = flush;
    const maps = openMaps(pins.maps);
    return {
      fromContainer: required(loaded, 'from_container'),
      toContainer: required(loaded, 'to_container'),
      leaveContainer: loaded.get('leave_container'),
      fromUplink: required(loaded, 'from_uplink'),
      uplinkXdp: required(loaded, 'uplink_xdp'),
      conntrackSweep: required(loaded, 'conntrack_sweep'),
      flush: own,
      sockets,
      maps,
      deferredSizes,
      [Symbol.dispose]() {
        maps[Symbol.dispose]();
        close();
      },
    };
  } catch (error) {
    close();
    throw error;
  }
}

/** Resolves or throws when none of them goes on: who fails may take away what the others have made. */
async function allDone(tasks: readonly Promise<void>[]): Promise<void> {
  for (const outcome of await Promise.allSettled(tasks)) {
    if (outcome.status === 'rejected') throw outcome.reason;
  }
}

/** Those that are not there yet, each once: see bpf/tables.bpf.c. */
async function makeMaps(sizes: ReadonlyMap<MapName, number>, pins: PinDirectories): Promise<void> {
  using _ = await loadObject(MAPS_OBJECT, [], { sizes, pins });
}

/** For the network namespace of the calling thread, which is the node. */
async function loadSocketPrograms(
  variables: Variables,
  sizes: ReadonlyMap<MapName, number>,
  pins: PinDirectories,
): Promise<SocketPrograms> {
  using netns = NetnsHandle.current();
  using object = await loadObject(
    SOCKET_OBJECT,
    [...valuesOf(variables), ['node_netns', u64.encode(netns.cookie)]],
    { sizes, pins },
  );
  const programs = SOCKET_PROGRAMS.map((name) => [name, object.program(name)] as const);
  return Object.fromEntries(programs) as Record<(typeof SOCKET_PROGRAMS)[number], BpfProgram>;
}

/** A program that tells why it would let a packet pass or not; it shares the maps of those that are attached. */
export interface ExplainingProgram extends Disposable {
  readonly program: BpfProgram;
  /** Its one answer, about the packet that it ran on last. */
  readonly answers: BpfMap;
}

/** loadPrograms() must have been before. Throws KERNEL_UNSUPPORTED. */
export async function loadExplaining(
  name: 'from_container' | 'to_container',
  asked: Settings,
  pins: PinDirectories,
): Promise<ExplainingProgram> {
  const settings = sized(asked, pins);
  using object = await loadObject(name, valuesOf({ ...settings, explain: 1, stands_in: 0 }), {
    sizes: pinnedSizes(settings, pins),
    pins,
  });
  const program = object.program(name);
  const answers = object.map('explanations');
  return {
    program,
    answers,
    [Symbol.dispose]() {
      program.close();
      answers.close();
    },
  };
}

/** As large as the maps are that there are. */
function pinnedSizes(settings: Settings, pins: PinDirectories): Map<MapName, number> {
  return new Map(
    [...wantedSizes(settings)].map(([map, wanted]) => [map, pinnedSize(`${pins.maps}/${map}`) ?? wanted]),
  );
}

/** Of the variables that every program has. */
function valuesOf(variables: Variables): [symbol: string, bytes: Uint8Array][] {
  return [
    ...Object.values(CONFIG).map(({ name, variable, codec }): [string, Uint8Array] => [
      variable,
      codec.encode(variables[name]),
    ]),
    ['random_secret', randomBytes(RANDOM_SECRET_BYTES)],
  ];
}

/** Those that are pinned, or are made and pinned in these sizes. */
interface PinnedMaps {
  sizes: ReadonlyMap<MapName, number>;
  pins: PinDirectories;
}

async function loadObject(
  name: ProgramName | typeof SOCKET_OBJECT | typeof MAPS_OBJECT,
  /** Symbols of variables, and their values. */
  values: Iterable<readonly [symbol: string, bytes: Uint8Array]>,
  /** Where it has its maps from. */
  maps: PinnedMaps | BpfProgram,
): Promise<BpfObject> {
  const path = fileURLToPath(new URL(`${name}.bpf.o`, OBJECTS));
  if (!existsSync(path)) {
    throw new AppError('KERNEL_UNSUPPORTED', `${path} is missing`, { hint: 'run "npm run build"' });
  }
  let object: BpfObject | undefined;
  try {
    object = BpfObject.open(path);
    for (const [symbol, bytes] of values) object.setVariable(symbol, bytes);
    if (maps instanceof BpfProgram) {
      object.shareMaps(maps);
      await object.load();
      return object;
    }
    for (const [map, size] of maps.sizes) {
      if (object.mapNames.includes(map)) object.setMaxEntries(map, size);
    }
    await object.load({ pinRoot: maps.pins.maps });
    return object;
  } catch (error) {
    object?.close();
    if (!(error instanceof KernelError)) throw error;
    throw new AppError(
      'KERNEL_UNSUPPORTED',
      `the kernel does not take ${name === MAPS_OBJECT ? 'the maps' : `the program ${name}`}: ${error.message}`,
      {
        cause: error,
        hint: 'the README lists what the kernel must have; a map of another version is removed by a restart of the node',
      },
    );
  }
}

function required(programs: ReadonlyMap<ProgramName, BpfProgram>, name: ProgramName): BpfProgram {
  const program = programs.get(name);
  if (program === undefined) throw new AppError('INTERNAL', `program ${name} was not loaded`);
  return program;
}

function sized(settings: Settings, pins: PinDirectories): Settings {
  return sizedFor(settings, nodeMemory(), pinnedSize(`${pins.maps}/qn_conntrack`));
}

function pinnedSize(path: string): number | undefined {
  if (!existsSync(path)) return undefined;
  using map = BpfMap.fromPin(path);
  return map.info.maxEntries;
}
