import { Closable } from './closable.js';
import {
  native,
  type ProgramHandle,
  type ProgramInfo,
  type StatisticsHandle,
  type TestRunArguments,
  type TestRunResult,
} from './functions.js';

export interface TestRunOptions {
  /** The packet; at least an Ethernet header for tc and XDP programs. */
  data?: Uint8Array;
  /** struct __sk_buff, struct xdp_md, or what a syscall program takes. */
  context?: Uint8Array;
  /** Default 1. */
  repeat?: number;
  /** Room for the packet that comes out. Default: 256 bytes more than went in. */
  dataOutSize?: number;
  /** LIVE_FRAMES, COMPLETE_SUMS or nothing. */
  flags?: number;
}

/**
 * BPF_F_TEST_XDP_LIVE_FRAMES: what an XDP program decides is carried out, as if each frame came from the driver of the
 * interface in the context. Neither the frame nor the context comes back.
 */
export const LIVE_FRAMES = 2;

/**
 * BPF_F_TEST_SKB_CHECKSUM_COMPLETE: the packet of a tc program comes from a card that tells its sum (CHECKSUM_COMPLETE).
 * EBADMSG: the program has not kept that right. EINVAL before Linux 6.16.
 */
export const COMPLETE_SUMS = 4;

/** What a packet may grow by, unless the caller says otherwise. */
const DATA_OUT_HEADROOM = 256;

/** A loaded program. */
export class BpfProgram extends Closable<ProgramHandle> {
  /** @internal */
  static fromHandle(handle: ProgramHandle): BpfProgram {
    return new BpfProgram(handle);
  }

  /** @internal */
  static handleOf(program: BpfProgram): ProgramHandle {
    return program.handle;
  }

  /** @throws KernelError EINVAL when the pin is something else, ENOENT when there is none. */
  static fromPin(path: string): BpfProgram {
    return new BpfProgram(native.programFromPin(path));
  }

  info(): ProgramInfo {
    return native.programInfo(this.handle);
  }

  /** @throws KernelError EEXIST when there is something at the path. */
  pin(path: string): void {
    native.pin(this.handle, path);
  }

  /** Removes the pin at the path. @returns false when there was none. */
  unpin(path: string): boolean {
    return native.unpin(path);
  }

  /**
   * Runs the program here and now, on this thread.
   * @throws KernelError ENOSPC when dataOutSize is too small.
   */
  testRun(options: TestRunOptions = {}): TestRunResult {
    return native.programTestRun(...this.#arguments(options));
  }

  /** As testRun, on a worker thread. */
  testRunAsync(options: TestRunOptions = {}): Promise<TestRunResult> {
    return native.programTestRunAsync(...this.#arguments(options));
  }

  #arguments({ data, context, repeat = 1, dataOutSize, flags = 0 }: TestRunOptions): TestRunArguments {
    const outSize = dataOutSize ?? (data ? data.length + DATA_OUT_HEADROOM : 0);
    return [this.handle, data, context, repeat, outSize, flags];
  }
}

class RunStatistics extends Closable<StatisticsHandle> {
  constructor() {
    super(native.enableRunStatistics());
  }
}

/**
 * The kernel counts runCount and runTimeNs of all programs until this is closed; it costs some ns per run.
 */
export function enableRunStatistics(): Disposable & { close(): void } {
  return new RunStatistics();
}

/**
 * Name of whoever's program has the id; undefined: none has.
 * @throws KernelError EMFILE, EPERM.
 */
export function programName(id: number): string | undefined {
  return native.programName(id);
}
