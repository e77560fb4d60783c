import type { FastifyReply } from 'fastify';
import { AppError } from '../../model/errors.js';
import type { Node } from '../../vnet/contract.js';
import { FLOWS_LIMIT_MAX, type FlowQuery, flowLine, flowQuery, matchesFlow } from '../flow-schema.js';
import { FlowStream } from '../flow-stream.js';
import { type Api, answers } from '../schemas.js';

/** Requests that may follow at once; each costs a look at every event. */
const FOLLOWERS_MAX = 64;

const NDJSON = 'application/x-ndjson';

export function flowRoutes(app: Api, { observation }: Node, onLost: (count: number) => void): void {
  const followers = new Set<FlowStream>();

  app.addHook('preClose', async () => {
    for (const stream of followers) stream.end();
  });

  app.get(
    '/flows',
    {
      // A HEAD request that follows would never end.
      exposeHeadRoute: false,
      schema: {
        tags: ['flows'],
        operationId: 'listFlows',
        summary: 'Verdicts, oldest first, one JSON object in each line',
        querystring: flowQuery,
        response: answers({
          200: { description: 'Events', content: { [NDJSON]: { schema: flowLine } } },
        }),
      },
    },
    async ({ query }, typed) => {
      // Its type knows one line; an answer has many.
      const reply: FastifyReply = typed.type(`${NDJSON}; charset=utf-8`);
      if (query.follow) return reply.send(follow(query, reply));
      return reply.send(
        recent(query)
          .map((event) => `${JSON.stringify(event)}\n`)
          .join(''),
      );
    },
  );

  function recent(query: FlowQuery) {
    if (query.limit === 0) return [];
    const events = observation.recentFlows(FLOWS_LIMIT_MAX);
    return events.filter((event) => matchesFlow(query, event)).slice(-query.limit);
  }

  /** The recent events and then the new ones: both are asked for in one turn, so that none is missed or told twice. */
  function follow(query: FlowQuery, reply: FastifyReply): FlowStream {
    if (followers.size >= FOLLOWERS_MAX) {
      throw new AppError('INSUFFICIENT_CAPACITY', `${FOLLOWERS_MAX} callers follow the flows already`);
    }
    const stream = new FlowStream(onLost);
    const abort = new AbortController();
    stream.once('close', () => {
      abort.abort();
      followers.delete(stream);
    });
    followers.add(stream);
    for (const event of recent(query)) stream.write(event);
    observation.watchFlows((event) => {
      if (matchesFlow(query, event)) stream.write(event);
    }, abort.signal);
    // There may be nothing to tell for hours.
    reply.raw.setTimeout(0);
    // The caller sees that it is connected before there is anything to tell.
    reply.raw.once('pipe', () => reply.raw.flushHeaders());
    return stream;
  }
}
