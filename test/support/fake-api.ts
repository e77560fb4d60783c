/** The API in front of a node in memory, for inject() or behind real listeners. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import pino from 'pino';
import { type ApiOptions, buildApi } from '../../src/api/api.js';
import { CallerRegistry, type SocketOwner } from '../../src/api/caller.js';
import { type ApiServer, serveApi } from '../../src/api/server.js';
import { createMetrics } from '../../src/metrics/metrics.js';
import { cniAnswer, cniCall } from '../../src/model/cni.js';
import { FakeNode } from './fake-node.js';

export const VERSION = '1.2.3';

export interface FakeApi {
  node: FakeNode;
  app: FastifyInstance;
  /** What the API has logged. */
  logged: { level: number; msg: string; err?: { message: string } }[];
  close(): Promise<void>;
}

/** An API whose callers came in by the Unix socket, unless said otherwise. */
export async function fakeApi(options: Partial<ApiOptions> = {}): Promise<FakeApi> {
  const node = new FakeNode();
  const logged: FakeApi['logged'] = [];
  const logger = pino({ level: 'info' }, { write: (line) => void logged.push(JSON.parse(line)) });
  const app = await buildApi({
    node,
    version: VERSION,
    logger,
    callers: { callerOf: () => ({ via: 'unix' }) },
    metrics: createMetrics({ node, version: VERSION, log: logger }),
    cni: {
      call: cniCall,
      outcome: cniAnswer,
      handle: async (call) => ({ exit_code: 0, stdout: JSON.stringify(call) }),
    },
    ...options,
  });
  return { node, app, logged, close: () => app.close() };
}

export interface ServedApi extends FakeApi {
  server: ApiServer;
  socketPath: string;
  port: number;
  callers: CallerRegistry;
}

/** The same behind real listeners, in a directory of its own. */
export async function servedApi(socketOwner: SocketOwner = () => 0): Promise<ServedApi> {
  const directory = mkdtempSync(join(tmpdir(), 'quantum-api-'));
  const callers = new CallerRegistry(socketOwner);
  const api = await fakeApi({ callers });
  const socketPath = join(directory, 'run', 'api.sock');
  const server = await serveApi(api.app, { listen: { host: '127.0.0.1', port: 0 }, socketPath, callers });
  const close = async () => {
    await server.close();
    rmSync(directory, { recursive: true });
  };
  return { ...api, server, socketPath, port: server.tcp?.port ?? 0, callers, close };
}
