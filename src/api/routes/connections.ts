import { connectionList, connectionQuery, flushed, flushQuery } from '../../model/connection.js';
import type { Node } from '../../vnet/contract.js';
import { type Api, answers } from '../schemas.js';

const tags = ['connections'];

export function connectionRoutes(app: Api, { connections }: Node): void {
  app.get(
    '/nat/connections',
    {
      schema: {
        tags,
        operationId: 'listConnections',
        summary: 'Connections that the node remembers, and to what they are translated',
        querystring: connectionQuery,
        response: answers({ 200: connectionList }),
      },
    },
    async ({ query }) => connections.list(query),
  );

  app.delete(
    '/nat/connections',
    {
      schema: {
        tags,
        operationId: 'flushConnections',
        summary: 'Forget connections: what they say next is judged as the first of a new one',
        querystring: flushQuery,
        response: answers({ 200: flushed }),
      },
    },
    async ({ query: { all: _all, ...filter } }) => ({ flushed: await connections.flush(filter) }),
  );
}
