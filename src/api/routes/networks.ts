import { network, networkList, networkRequest } from '../../model/network.js';
import type { Node } from '../../vnet/contract.js';
import { type Api, answers, networkPath, noQuery, nothing } from '../schemas.js';

const tags = ['networks'];

export function networkRoutes(app: Api, { networks }: Node): void {
  app.post(
    '/networks',
    {
      schema: {
        tags,
        operationId: 'createNetwork',
        summary: 'Make a network',
        body: networkRequest,
        querystring: noQuery,
        response: answers({ 201: network }),
      },
    },
    async (request, reply) => {
      const made = await networks.create(request.body);
      return reply.code(201).header('location', `/networks/${made.name}`).send(made);
    },
  );

  app.get(
    '/networks',
    {
      schema: {
        tags,
        operationId: 'listNetworks',
        summary: 'Every network',
        querystring: noQuery,
        response: answers({ 200: networkList }),
      },
    },
    async () => ({ networks: networks.list() }),
  );

  app.get(
    '/networks/:name',
    {
      schema: {
        tags,
        operationId: 'getNetwork',
        summary: 'One network',
        params: networkPath,
        querystring: noQuery,
        response: answers({ 200: network }),
      },
    },
    async (request) => networks.get(request.params.name),
  );

  app.delete(
    '/networks/:name',
    {
      schema: {
        tags,
        operationId: 'deleteNetwork',
        summary: 'Remove a network that no container is connected to',
        params: networkPath,
        querystring: noQuery,
        response: answers({ 204: nothing }),
      },
    },
    async (request, reply) => {
      await networks.delete(request.params.name);
      return reply.code(204).send();
    },
  );
}
