import { endpointList } from '../../model/endpoint.js';
import { identityList } from '../../model/identity.js';
import type { Node } from '../../vnet/contract.js';
import { type Api, answers, noQuery } from '../schemas.js';

export function inventoryRoutes(app: Api, { endpoints, observation }: Node): void {
  app.get(
    '/endpoints',
    {
      schema: {
        tags: ['endpoints'],
        operationId: 'listEndpoints',
        summary: 'Everything that is attached to this node',
        querystring: noQuery,
        response: answers({ 200: endpointList }),
      },
    },
    async () => ({ endpoints: endpoints.list() }),
  );

  app.get(
    '/identities',
    {
      schema: {
        tags: ['identities'],
        operationId: 'listIdentities',
        summary: 'Every identity with its labels',
        querystring: noQuery,
        response: answers({ 200: identityList }),
      },
    },
    async () => ({ identities: observation.identities() }),
  );
}
