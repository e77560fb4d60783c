/** Commands inside a namespace. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import type { NetnsHandle } from '../native/net.js';
import { CommandError } from './errors.js';

export interface ExecOptions {
  /** Written to its standard input, which is then closed; empty otherwise. */
  input?: string | Uint8Array;
  env?: NodeJS.ProcessEnv;
  cwd?: string;
  /** SIGKILL after so many milliseconds. */
  timeoutMs?: number;
  /** Kills the command. */
  signal?: AbortSignal;
  /** Of each of the two outputs, in bytes; more kills the command. */
  maxOutput?: number;
}

export interface ExecResult {
  stdout: string;
  stderr: string;
}

const MAX_OUTPUT = 16 * 1024 * 1024;

/**
 * Starts a command in the namespace, otherwise as `child_process.spawn`. libuv forks on the calling thread and waits
 * for the child's exec, so the child is in the namespace for good before this returns, and the caller is back.
 */
export function spawnIn(
  netns: NetnsHandle,
  command: string,
  args: readonly string[] = [],
  options: SpawnOptions = {},
): ChildProcess {
  return netns.run(() => spawn(command, args, options));
}

/** Collects one output, up to a limit. */
class Collector {
  readonly #chunks: Buffer[] = [];
  #size = 0;

  /** False when it is too much. */
  add(chunk: Buffer, limit: number): boolean {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    return this.#size <= limit;
  }

  text(): string {
    return Buffer.concat(this.#chunks).toString();
  }
}

/** Runs a command to its end. @throws CommandError unless it exits with 0. */
export async function execIn(
  netns: NetnsHandle,
  command: string,
  args: readonly string[] = [],
  options: ExecOptions = {},
): Promise<ExecResult> {
  const { input, timeoutMs, signal, maxOutput = MAX_OUTPUT, ...rest } = options;
  const child = spawnIn(netns, command, args, {
    ...rest,
    ...(timeoutMs === undefined ? {} : { timeout: timeoutMs }),
    ...(signal === undefined ? {} : { signal }),
    killSignal: 'SIGKILL',
    stdio: 'pipe',
  });
  const stdout = new Collector();
  const stderr = new Collector();
  const inode = netns.inode;

  return new Promise((resolve, reject) => {
    let failure: unknown;
    let tooMuch = false;
    const collect = (into: Collector) => (chunk: Buffer) => {
      if (into.add(chunk, maxOutput)) return;
      tooMuch = true;
      child.kill('SIGKILL');
    };
    child.stdout?.on('data', collect(stdout));
    child.stderr?.on('data', collect(stderr));
    // A command need not read its input; how it ends says what matters.
    child.stdin?.on('error', () => {});
    child.stdin?.end(input ?? '');
    child.on('error', (error) => {
      failure = error;
    });
    child.on('close', (exitCode, killedBy) => {
      const outcome = { stdout: stdout.text(), stderr: stderr.text() };
      if (exitCode === 0 && failure === undefined && !tooMuch) {
        resolve(outcome);
        return;
      }
      const reason = tooMuch
        ? `more than ${maxOutput} bytes of output`
        : failure instanceof Error
          ? failure.message
          : killedBy
            ? `ended by ${killedBy}`
            : `exit code ${exitCode}`;
      reject(
        new CommandError(
          { ...outcome, command: [command, ...args], inode, exitCode, signal: killedBy },
          reason,
          failure === undefined ? undefined : { cause: failure },
        ),
      );
    });
  });
}
