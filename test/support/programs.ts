/**
 * The BPF programs, loaded into a directory of their own below /sys/fs/bpf and run on single packets with
 * BPF_PROG_TEST_RUN in a network namespace of their own. Nothing here judges what they do.
 */
import { randomBytes } from 'node:crypto';
import { readdirSync, rmdirSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { decodePerCpu, u32, u64 } from '../../src/datapath/abi/codec.js';
import {
  CONFIG,
  type ConntrackSweep,
  DROP_REASONS,
  Event,
  MAPS,
  MetricKey,
  MetricValue,
} from '../../src/datapath/abi/generated.js';
import {
  type BpfMap,
  BpfObject,
  type BpfProgram,
  monotonicNs,
  mountBpffs,
  RingBuffer,
  type TestRunResult,
} from '../../src/native/bpf.js';
import { NetnsHandle, Rtnl } from '../../src/native/net.js';
import type { Count, Outcome, Passage } from './outcome.js';
import { Packet } from './packet.js';
import { skBuff, xdpMd } from './program-context.js';
import { type MapName, ProgramMaps } from './program-maps.js';
import { TypedMap } from './typed-map.js';

export const OBJECT_FOLDER = fileURLToPath(new URL('../../bpf/build/', import.meta.url));
export const PROGRAMS = [
  'from_container',
  'to_container',
  'from_uplink',
  'uplink_xdp',
  'conntrack_sweep',
] as const;
/** For kernels with TCX links. */
export const TCX_PROGRAMS = ['leave_container'] as const;
/** A program for each hook of sockets: no packets pass them. */
export const SOCKET_OBJECT = 'node_connect';
/** Those that packets pass. */
export type TestedProgram = 'from_container' | 'to_container' | 'from_uplink' | 'uplink_xdp';
export type ProgramName = (typeof PROGRAMS)[number];
export type SettingName = keyof typeof CONFIG;

/** Of every device that packets come in by. */
export const DEVICE_MAC = '02:aa:00:00:00:02';

/** What the programs answer to the hook: TC_ACT_UNSPEC (on to the host), TC_ACT_SHOT, TC_ACT_REDIRECT. */
export const ACTION = { PASS: -1, DROP: 2, REDIRECT: 7 } as const;

/** What uplink_xdp answers: XDP_PASS (on to the stack), XDP_DROP, XDP_REDIRECT. */
export const XDP_ACTION = { PASS: 2, DROP: 1, REDIRECT: 4 } as const;

/** How long a record may take from the ring buffer to the test. */
const EVENT_TIMEOUT_MS = 5000;

/** All of their elements are made with them: as few as tests need. */
const CONNECTIONS = { qn_conntrack: 65536, qn_nat: 65536 };

export interface LoadOptions {
  settings?: Partial<Record<SettingName, number>>;
  maxEntries?: Partial<Record<MapName, number>>;
  /** Real devices for packets to pass. Default 5. */
  devices?: number;
}

export class Programs extends ProgramMaps implements Disposable {
  readonly pinRoot: string;
  /** Of the devices in the namespace. */
  readonly ifindexes: readonly number[];
  readonly #namespace: NetnsHandle;
  readonly #programs: Map<ProgramName, BpfProgram>;
  readonly #maps: Map<string, BpfMap>;
  /** Of BPF_PROG_TEST_RUN: see TestRunOptions. */
  runFlags = 0;
  #isInside = false;
  #ring: RingBuffer | undefined;
  #events: Event[] = [];
  #since = 0n;
  #wake = (): void => {};

  private constructor(
    pinRoot: string,
    namespace: NetnsHandle,
    ifindexes: readonly number[],
    programs: Map<ProgramName, BpfProgram>,
    maps: Map<string, BpfMap>,
  ) {
    super(maps);
    this.pinRoot = pinRoot;
    this.#namespace = namespace;
    this.ifindexes = ifindexes;
    this.#programs = programs;
    this.#maps = maps;
  }

  static async load({ settings = {}, maxEntries, devices = 5 }: LoadOptions = {}): Promise<Programs> {
    const name = `quantum-test-${randomBytes(6).toString('hex')}`;
    const pinRoot = join('/sys/fs/bpf', name);
    mountBpffs(pinRoot);
    const namespace = NetnsHandle.createUnnamed();
    const programs = new Map<ProgramName, BpfProgram>();
    const maps = new Map<string, BpfMap>();
    try {
      for (const program of PROGRAMS) {
        using object = BpfObject.open(join(OBJECT_FOLDER, `${program}.bpf.o`));
        for (const [map, entries] of Object.entries({ ...CONNECTIONS, ...maxEntries })) {
          if (object.mapNames.includes(map)) object.setMaxEntries(map, entries);
        }
        for (const [setting, value] of Object.entries(settings)) {
          setIfKnown(object, CONFIG[setting as SettingName].variable, u32.encode(value));
        }
        await object.load({ pinRoot });
        programs.set(program, object.program(program));
        for (const map of object.mapNames) {
          if (map.startsWith('qn_') && !maps.has(map)) maps.set(map, object.map(map));
        }
      }
      return new Programs(pinRoot, namespace, createDevices(namespace, devices), programs, maps);
    } catch (error) {
      release(pinRoot, namespace, [...programs.values(), ...maps.values()]);
      throw error;
    }
  }

  /** For another object on the same maps: it must ask for them as large as they are. */
  fitMaps(object: BpfObject): void {
    for (const [name, map] of this.#maps) {
      if (object.mapNames.includes(name)) object.setMaxEntries(name, map.info.maxEntries);
    }
  }

  program(name: ProgramName): BpfProgram {
    const program = this.#programs.get(name);
    if (!program) throw new Error(`no program ${name}`);
    return program;
  }

  /** Sends one frame through a program. It must be counted exactly once, which is not for tests to repeat. */
  run(program: TestedProgram | BpfProgram, frame: Packet | Uint8Array, passage: Passage): Outcome {
    this.forget();
    const { verdict, frame: left } = this.pass(program, frame, passage);
    const counted = this.metrics();
    const [metric, more] = counted.filter(({ audited }) => !audited);
    const [audit, second] = counted.filter(({ audited }) => audited);
    if (!metric || more || second || metric.packets !== 1 || (audit && audit.packets !== 1)) {
      throw new Error(`one packet was counted as ${JSON.stringify(counted)}`);
    }
    const { audited: _, ...count } = metric;
    return { ...count, ...(audit ? { auditReason: audit.reason } : {}), verdict, frame: left };
  }

  /** The same without a look at the counters. */
  pass(
    program: TestedProgram | BpfProgram,
    frame: Packet | Uint8Array,
    { ifindex, ingressIfindex = 0, mark = 0 }: Passage,
  ): Pick<Outcome, 'verdict' | 'frame'> {
    const data = frame instanceof Packet ? frame.bytes() : frame;
    const context =
      program === 'uplink_xdp' ? xdpMd(data.length, ifindex) : skBuff({ ifindex, ingressIfindex, mark });
    const result = this.runUncounted(program, data, context);
    return { verdict: result.returnValue | 0, frame: result.dataOut };
  }

  /** Does something in the namespace of the devices; around many packets, it saves each of them the way there. */
  inside<T>(body: () => T): T {
    if (this.#isInside) return body();
    this.#isInside = true;
    try {
      return this.#namespace.run(body);
    } finally {
      this.#isInside = false;
    }
  }

  /** Sends one frame of many. */
  runUncounted(program: TestedProgram | BpfProgram, data: Uint8Array, context: Uint8Array): TestRunResult {
    const tested = typeof program === 'string' ? this.program(program) : program;
    return this.inside(() => tested.testRun({ data, context, flags: this.runFlags }));
  }

  /** Counters since the last run() or forget(), summed over the CPUs. */
  metrics(): Count[] {
    const map = this.map('qn_metrics');
    return [...map.keys()].map((bytes) => {
      const { reason, audited, ...key } = MetricKey.decode(bytes);
      const values = decodePerCpu(MetricValue, map.get(bytes) ?? new Uint8Array());
      const packets = Number(values.reduce((sum, value) => sum + value.packets, 0n));
      const length = Number(values.reduce((sum, value) => sum + value.bytes, 0n));
      return { ...key, reason: reasonName(reason), audited: audited === 1, packets, bytes: length };
    });
  }

  /** Zeroes the counters, and lets takeEvents() pass over the events until now. */
  forget(): void {
    const map = this.map('qn_metrics');
    for (const key of [...map.keys()]) map.delete(key);
    this.#since = monotonicNs();
  }

  /** Lost events since the programs were loaded, by enum event_loss. */
  eventLoss(kind: number): number {
    const values = decodePerCpu(u64, this.map('qn_event_loss').get(u32.encode(kind)) ?? new Uint8Array());
    return Number(values.reduce((sum, value) => sum + value, 0n));
  }

  /** Starts to read the ring buffer; what is in it already is read too. */
  watchEvents(): void {
    this.#ring ??= new RingBuffer(this.map('qn_events'), (records) => {
      this.#events.push(...records.map((record) => Event.decode(record)));
      this.#wake();
    });
  }

  /** Lets takeEvents() go back to a time (CLOCK_MONOTONIC, ns), before the last run(). */
  since(time: bigint): void {
    this.#since = time;
  }

  /** Takes `count` events that came about since the last run() or forget(). @throws when they do not come. */
  async takeEvents(count: number): Promise<Event[]> {
    this.watchEvents();
    const deadline = AbortSignal.timeout(EVENT_TIMEOUT_MS);
    for (;;) {
      this.#events = this.#events.filter((event) => event.timeNs >= this.#since);
      if (this.#events.length >= count) return this.#events.splice(0, count);
      if (deadline.aborted) throw new Error(`${this.#events.length} of ${count} events came`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        deadline.addEventListener('abort', () => resolve(), { once: true });
      });
    }
  }

  /** The event of the packet that was run last. */
  async takeEvent(): Promise<Event> {
    const [event] = await this.takeEvents(1);
    if (!event) throw new Error('no event');
    return event;
  }

  sweep(): ConntrackSweep {
    this.program('conntrack_sweep').testRun();
    const counters = new TypedMap(this.map('qn_sweep'), MAPS.qn_sweep).get(0);
    if (!counters) throw new Error('no counters of the sweep');
    return counters;
  }

  close(): void {
    this.#ring?.close();
    release(this.pinRoot, this.#namespace, [...this.#programs.values(), ...this.#maps.values()]);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

export function reasonName(value: number): string {
  return DROP_REASONS[value]?.name ?? `unknown reason ${value}`;
}

/** Not every program uses every setting. */
export function setIfKnown(object: BpfObject, variable: string, bytes: Uint8Array): void {
  try {
    object.setVariable(variable, bytes);
  } catch (error) {
    if ((error as { code?: string }).code !== 'ENOENT') throw error;
  }
}

function createDevices(namespace: NetnsHandle, count: number): number[] {
  using rtnl = Rtnl.open(namespace);
  return Array.from({ length: count }, (_, at) => {
    rtnl.createVeth({ name: `host${at}`, peerName: `peer${at}`, mac: DEVICE_MAC });
    return rtnl.link(`host${at}`)?.index ?? 0;
  });
}

function release(pinRoot: string, namespace: NetnsHandle, handles: { close(): void }[]): void {
  for (const handle of handles) handle.close();
  namespace.close();
  for (const pin of readdirSync(pinRoot)) unlinkSync(join(pinRoot, pin));
  rmdirSync(pinRoot);
}
