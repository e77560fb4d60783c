/** Calls of Docker to the plugin of a daemon, as Docker makes them, without Docker. */
import { join } from 'node:path';
import type { Daemon } from './daemon.js';
import { type Answer, Rest } from './rest.js';

/** The answer to a call; throws what it is refused with. */
export async function callDriver(daemon: Daemon, method: string, body: object): Promise<Answer> {
  const plugin = new Rest(join(daemon.path('plugins'), 'quantum.sock'), () => daemon.log);
  const answer = await plugin.call('POST', `/${method}`, body);
  const { Err } = answer.json as { Err?: string };
  if (Err) throw new Error(Err);
  return answer;
}
