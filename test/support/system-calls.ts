/**
 * The system calls of a running process, seen by strace, which can end the process just before one of them. Nothing
 * that a process leaves behind changes between two of its system calls, so these are all the moments that matter.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';

const ATTACH_MS = 20_000;

/**
 * Threads of the daemon that do something to the node, each with the calls by which it does: the event loop, the one
 * that writes the store, and those of libuv's pool. strace counts for each thread and call alone, so what is to be
 * counted needs a pool of one thread (SINGLE_POOL).
 */
export const THREADS = {
  main: ['bpf', 'sendto', 'setns', 'openat', 'write', 'writev', 'unlink'],
  store: ['pwrite64', 'writev', 'fdatasync'],
  pool: ['bpf', 'sendto', 'membarrier', 'openat', 'mkdir', 'link', 'rename', 'unlink', 'rmdir', 'fsync'],
} as const;
export type Thread = keyof typeof THREADS;

/**
 * Calls that change nothing: to end before one of them is to end before the next one. Netlink's RTM_GET… are those
 * whose number is 2 modulo 4; not every strace knows their names. What is 8 bytes long wakes another thread.
 */
const IDLE =
  /O_RDONLY|BPF_(?:MAP_LOOKUP|MAP_GET|OBJ_GET|LINK_GET|PROG_GET|BTF_GET)|RTM_GET|nlmsg_type=0x[0-9a-f]*[26ae] |, "\\1(?:\\0){7}", 8/;

/** How a daemon is started that has one thread in libuv's pool. */
export const SINGLE_POOL: readonly string[] = ['env', 'UV_THREADPOOL_SIZE=1'];

/** Before which system call a process ends: the `nth`, from 1, of that name and thread. */
export interface KillPoint {
  thread: Thread;
  call: string;
  nth: number;
}

export class Tracer {
  private constructor(
    private readonly child: ChildProcess,
    private readonly process: number,
    private readonly said: () => string,
  ) {}

  /** Follows the calls of all threads, or ends the process at a point. From now on. */
  static async attach(process: number, point?: KillPoint): Promise<Tracer> {
    const threads = readdirSync(`/proc/${process}/task`).map(Number);
    const followed = threads.filter(
      (id) => point === undefined || (id === process) === (point.thread === 'main'),
    );
    const child = spawn(
      'strace',
      [
        ...followed.flatMap((id) => ['-p', String(id)]),
        ...(point === undefined ? following() : killing(point)),
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    let text = '';
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    const tracer = new Tracer(child, process, () => text);
    await tracer.#attached(followed.length);
    return tracer;
  }

  /** Lets go of the process, if there still is one. What its threads have done, as points to end it at. */
  async end(): Promise<KillPoint[]> {
    this.child.kill('SIGTERM');
    if (this.child.exitCode === null && this.child.signalCode === null) await once(this.child, 'close');
    return pointsIn(this.said(), this.process, THREADS);
  }

  async #attached(threads: number): Promise<void> {
    const deadline = performance.now() + ATTACH_MS;
    while ((this.said().match(/ attached$/gm) ?? []).length < threads) {
      if (this.child.exitCode !== null || performance.now() > deadline) {
        this.child.kill('SIGKILL');
        throw new Error(`strace did not attach:\n${this.said()}`);
      }
      await once(this.child.stderr ?? this.child, 'data', { signal: AbortSignal.timeout(ATTACH_MS) });
    }
  }
}

/** The command that a process is to be started by, for it to end before a call. */
export function killedAt(point: KillPoint): string[] {
  // The thread that a process starts with is its main one; without -f it is the only one that is followed.
  const threads = point.thread === 'main' ? [] : ['-f', '--seccomp-bpf'];
  return ['strace', '-D', ...threads, '-o', '/dev/null', ...killing(point)];
}

/** The command that a process is to be started by, for pointsIn() to tell of its calls what is then in the file. */
export function followedTo(path: string): string[] {
  return ['strace', '-D', '-f', '--seccomp-bpf', '-o', path, ...following()];
}

/** The calls of a process that strace has told of and that may change something, as far as they are asked for. */
export function pointsIn(text: string, process: number, of: Record<Thread, readonly string[]>): KillPoint[] {
  const counts = new Map<string, number>();
  const lines = text.matchAll(/^(?:\[pid +)?(\d+)\]? +([a-z0-9_]+)\((.*)/gm);
  return [...lines].flatMap(([, thread, call = '', rest = '']) => {
    const kinds: Thread[] = Number(thread) === process ? ['main'] : ['store', 'pool'];
    const kind = kinds.find((one) => of[one].includes(call));
    if (kind === undefined) return [];
    const nth = (counts.get(`${kind} ${call}`) ?? 0) + 1;
    counts.set(`${kind} ${call}`, nth);
    return IDLE.test(rest) ? [] : [{ thread: kind, call, nth }];
  });
}

export function pointText({ thread, call, nth }: KillPoint): string {
  return `call ${nth} of ${call} by the ${thread} thread`;
}

function following(): string[] {
  return ['-e', `trace=${[...new Set(Object.values(THREADS).flat())]}`, '-e', 'signal=none'];
}

function killing({ call, nth }: KillPoint): string[] {
  return ['-e', `trace=${call}`, '-e', 'signal=none', '-e', `inject=${call}:signal=SIGKILL:when=${nth}`];
}
