/**
 * A process that is to POST /policies what the daemon is: the API on a socket in front of the node of change-node.mjs.
 * Argument: the path of the socket. Ends with SIGTERM.
 */
import { once } from 'node:events';
import { pino } from 'pino';
import { buildApi } from '../../dist/api/api.js';
import { CallerRegistry } from '../../dist/api/caller.js';
import { serveApi } from '../../dist/api/server.js';
import { socketOwner } from '../../dist/native/net.js';
import { policyNode } from './change-node.mjs';
import { Cleanup } from './cleanup.mjs';

const [socketPath] = process.argv.slice(2);

await Cleanup.during(async (cleanup) => {
  const { policies } = await policyNode(cleanup);
  const callers = new CallerRegistry(socketOwner);
  const log = pino({ base: null }, pino.destination({ dest: 2, sync: true }));
  const metrics = { contentType: 'text/plain', render: async () => [], requestDone() {}, flowsLost() {} };
  const app = await buildApi({ node: { policies }, version: 'bench', logger: log, callers, metrics });
  const server = await serveApi(app, { listen: undefined, socketPath, callers });
  cleanup.add(() => server.close());
  console.log('is ready');
  await once(process, 'SIGTERM');
});
