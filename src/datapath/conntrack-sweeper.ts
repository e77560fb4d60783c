/** Runs the conntrack_sweep program: at intervals, and soon after what it looks for has happened. */
import type { BpfMap, BpfProgram } from '../native/bpf.js';
import { u32 } from './abi/codec.js';
import { type ConntrackEntry, ConntrackKey, type ConntrackSweep } from './abi/generated.js';
import type { TypedMap } from './typed-map.js';

const INTERVAL_MS = 10_000;

/** What is above is a negative number. */
const FAILED_MIN = 0x7fffffff;

export interface SweepResult {
  scanned: number;
  expired: number;
  cut: number;
}

export class ConntrackSweeper {
  private running: Promise<SweepResult> | undefined;
  private next: Promise<SweepResult> | undefined;
  private timer: NodeJS.Timeout | undefined;
  private live = 0;
  private liveAliases = 0;
  private turn: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly program: BpfProgram,
    private readonly results: TypedMap<number, ConntrackSweep>,
    /** `flush` of the program. */
    private readonly wanted: BpfMap,
  ) {}

  /** Live records that the last sweep left. */
  get records(): number {
    return this.live;
  }

  /** Translated ones among them. */
  get aliases(): number {
    return this.liveAliases;
  }

  /** Most records of one call of flush(). */
  get flushMax(): number {
    return this.wanted.info.maxEntries;
  }

  /** Removes these records as they were read; those that are others by now stay. Returns how many it removed. */
  flush(records: readonly ConntrackEntry[]): Promise<number> {
    return this.inTurn(() => this.flushOnce(records));
  }

  /** Sweeps at intervals until stop(); failures go to the callback, and the next turn tries again. */
  start(onError: (error: unknown) => void): void {
    this.timer = setInterval(() => void this.sweep().catch(onError), INTERVAL_MS);
    this.timer.unref();
  }

  /** Sweeps once, beginning after this call. Calls made while one is waiting to begin share it. */
  sweep(): Promise<SweepResult> {
    if (this.running === undefined) return this.run();
    this.next ??= this.running.then(
      () => this.run(),
      () => this.run(),
    );
    return this.next;
  }

  async stop(): Promise<void> {
    clearInterval(this.timer);
    await (this.next ?? this.running)?.catch(() => undefined);
    await this.turn;
  }

  private run(): Promise<SweepResult> {
    this.next = undefined;
    this.running = this.once().finally(() => {
      this.running = undefined;
    });
    return this.running;
  }

  private async once(): Promise<SweepResult> {
    const { aliases, ...result } = await this.inTurn(() => this.runProgram());
    this.live = result.scanned - result.expired - result.cut;
    this.liveAliases = aliases;
    return result;
  }

  /** It is one program, which tells what it did in one place. */
  private inTurn<T>(task: () => Promise<T>): Promise<T> {
    const result = this.turn.then(task);
    this.turn = result.catch(() => undefined);
    return result;
  }

  private async runProgram(): Promise<SweepResult & { aliases: number }> {
    const { returnValue } = await this.program.testRunAsync({});
    const result = this.results.get(0);
    if (returnValue > FAILED_MIN || result === undefined)
      throw new Error(`conntrack_sweep returned ${returnValue}`);
    const { scanned, expired, cut } = result;
    return { scanned, expired, cut, aliases: returnValue };
  }

  private async flushOnce(records: readonly ConntrackEntry[]): Promise<number> {
    const keys = ConntrackKey.encodeMany(records.map(({ key }) => key));
    try {
      const nonces = u32.encodeMany(records.map(({ nonce }) => nonce));
      await this.wanted.setBatch(keys, nonces);
      const { cut } = await this.runProgram();
      return cut;
    } finally {
      await this.wanted.deleteBatch(keys);
    }
  }
}
