/** Runs the conntrack_sweep program: at intervals, and soon after what it looks for has happened. */
import type { BpfProgram } from '../native/bpf.js';
import type { ConntrackSweep } from './abi/generated.js';
import type { TypedMap } from './typed-map.js';

const INTERVAL_MS = 10_000;

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

  constructor(
    private readonly program: BpfProgram,
    private readonly results: TypedMap<number, ConntrackSweep>,
  ) {}

  /** Live records that the last sweep left. */
  get records(): number {
    return this.live;
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
  }

  private run(): Promise<SweepResult> {
    this.next = undefined;
    this.running = this.once().finally(() => {
      this.running = undefined;
    });
    return this.running;
  }

  private async once(): Promise<SweepResult> {
    const { returnValue } = await this.program.testRunAsync({});
    const result = this.results.get(0);
    if (returnValue !== 0 || result === undefined) throw new Error(`conntrack_sweep returned ${returnValue}`);
    this.live = result.scanned - result.expired - result.cut;
    return { scanned: result.scanned, expired: result.expired, cut: result.cut };
  }
}
