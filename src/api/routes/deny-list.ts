import { denyList, denyListChange, denyListQuery, denyListRequest } from '../../model/deny-list.js';
import type { Node } from '../../vnet/contract.js';
import { type Api, answers, noQuery } from '../schemas.js';

const PATH = '/firewall/deny-list';
const tags = ['firewall'];
/** Room for as many ranges as the list may have, with the longest of texts. */
const bodyLimit = 5 << 20;

export function denyListRoutes(app: Api, { denyList: list }: Node): void {
  app.get(
    PATH,
    {
      schema: {
        tags,
        operationId: 'getDenyList',
        summary: 'Ranges from which nothing is taken that comes in by the uplink, page by page',
        querystring: denyListQuery,
        response: answers({ 200: denyList }),
      },
    },
    async ({ query }) => list.list(query),
  );

  const change = { querystring: noQuery, body: denyListRequest, response: answers({ 200: denyListChange }) };
  app.put(
    PATH,
    {
      bodyLimit,
      schema: {
        tags,
        operationId: 'replaceDenyList',
        summary: 'Replace the deny list; what the old and the new one have in common stays denied throughout',
        ...change,
      },
    },
    async ({ body }) => list.replace(body.cidrs),
  );

  app.post(
    PATH,
    {
      bodyLimit,
      schema: {
        tags,
        operationId: 'addToDenyList',
        summary: 'Add ranges to the deny list; connections that are open from there end too',
        ...change,
      },
    },
    async ({ body }) => list.add(body.cidrs),
  );

  app.delete(
    PATH,
    {
      bodyLimit,
      schema: {
        tags,
        operationId: 'removeFromDenyList',
        summary: 'Take ranges off the deny list, each as it was put there',
        ...change,
      },
    },
    async ({ body }) => list.remove(body.cidrs),
  );
}
