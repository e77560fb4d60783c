/** The command line: nouns and verbs, each command in a file that is loaded when it is used. */

import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { Command, InvalidArgumentError, Option } from 'commander';
import { ApiClient, type Target } from './client.js';
import type { Context, ContextOf } from './context.js';
import { EXIT, EXIT_HELP, failureOf } from './failures.js';
import { FORMATS, type Format } from './output.js';

export interface CliOptions {
  /** Arguments without the program's name. */
  argv: readonly string[];
  env: Readonly<Record<string, string | undefined>>;
  stdin: Readable;
  stdout: Writable;
  stderr: Writable;
}

interface CommandModule {
  register(command: Command, contextOf: ContextOf): void;
}

const COMMANDS: readonly { name: string; text: string; load: () => Promise<CommandModule> }[] = [
  { name: 'network', text: 'networks', load: () => import('./commands/network.js') },
  { name: 'container', text: 'containers on a network', load: () => import('./commands/container.js') },
  { name: 'namespace', text: 'namespaces', load: () => import('./commands/namespace.js') },
  { name: 'policy', text: 'policies', load: () => import('./commands/policy.js') },
  {
    name: 'deny-list',
    text: 'ranges from which nothing is taken',
    load: () => import('./commands/deny-list.js'),
  },
  {
    name: 'port-mapping',
    text: 'ports of the node that lead to containers',
    load: () => import('./commands/port-mapping.js'),
  },
  { name: 'service', text: 'services', load: () => import('./commands/service.js') },
  { name: 'conntrack', text: 'connections of the node', load: () => import('./commands/conntrack.js') },
  { name: 'endpoint', text: 'everything that is attached', load: () => import('./commands/endpoint.js') },
  { name: 'identity', text: 'identities', load: () => import('./commands/identity.js') },
  { name: 'flows', text: 'verdicts about packets', load: () => import('./commands/flows.js') },
  { name: 'explain', text: 'what would become of a packet', load: () => import('./commands/explain.js') },
  { name: 'cni', text: 'the CNI plugin on this node', load: () => import('./commands/cni.js') },
  {
    name: 'doctor',
    text: 'whether this node is fit, and what to do',
    load: () => import('./commands/doctor.js'),
  },
  { name: 'status', text: 'how the daemon is', load: () => import('./commands/status.js') },
];

/** Where the daemon's socket is unless somebody says otherwise; the setting `run_dir` moves it. */
const RUN_DIR = '/run/quantum';

/** Runs one command line. The exit code; nothing is thrown. */
export async function runQuantumctl(options: CliOptions): Promise<number> {
  const { argv, env, stdin, stdout, stderr } = options;
  const program = new Command('quantumctl')
    .description('Networks, containers and policies of this node')
    .addOption(new Option('-o, --output <format>', 'form of the answer').choices(FORMATS).default('table'))
    .option('--socket <path>', 'socket of the API', `${env.QUANTUM_RUN_DIR ?? RUN_DIR}/api.sock`)
    .option('--api <url>', 'address of the API instead, such as http://127.0.0.1:9443', apiUrl)
    .addHelpText('after', EXIT_HELP)
    .configureHelp({ showGlobalOptions: true })
    .showHelpAfterError('(add --help for what there is)')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void stdout.write(text),
      writeErr: (text) => void stderr.write(text),
    });
  const context: Partial<Context> & { exitCode: number } = { exitCode: EXIT.done };
  const contextOf: ContextOf = () => {
    const { output, socket, api } = program.opts<{ output: Format; socket: string; api?: URL }>();
    const target: Target = api === undefined ? { socketPath: socket } : { url: api };
    return Object.assign(context, {
      api: new ApiClient(target),
      format: output,
      stdin,
      env,
      print: async (text: string) => {
        if (!stdout.write(text)) await once(stdout, 'drain');
      },
      complain: (text: string) => void stderr.write(text),
    });
  };
  try {
    for (const { name, text, load } of COMMANDS) {
      const command = program.command(name).description(text);
      // The others are only listed. A word that is no command costs a file that was loaded in vain.
      if (argv.includes(name)) (await load()).register(command, contextOf);
    }
    await program.parseAsync(argv, { from: 'user' });
    return context.exitCode;
  } catch (error) {
    const { exit, text } = failureOf(error);
    stderr.write(text);
    return exit;
  }
}

function apiUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'http:' || url.pathname !== '/') {
    throw new InvalidArgumentError('It must be of the form http://HOST:PORT.');
  }
  return url;
}
