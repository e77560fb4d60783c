/** The command line in this process: what goes in, what comes out, and the exit code. */
import { Readable, Writable } from 'node:stream';
import { runQuantumctl } from '../../src/cli/quantumctl.js';

export interface Run {
  exit: number;
  out: string;
  err: string;
}

/** Keeps what is written; `onText` is called as it comes. */
export function sink(onText: () => void = () => {}): { stream: Writable; text: () => string } {
  let all = '';
  const stream = new Writable({
    write(chunk, _encoding, done) {
      all += String(chunk);
      onText();
      done();
    },
  });
  return { stream, text: () => all };
}

export async function runCtl(args: readonly string[], { stdin = '', env = {} } = {}): Promise<Run> {
  const [out, err] = [sink(), sink()];
  const exit = await runQuantumctl({
    argv: args,
    env,
    stdin: Readable.from([stdin]),
    stdout: out.stream,
    stderr: err.stream,
  });
  return { exit, out: out.text(), err: err.text() };
}
