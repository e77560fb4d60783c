import { portMapping, portMappingList, portMappingRequest } from '../../model/port-mapping.js';
import type { Node } from '../../vnet/contract.js';
import { type Api, answers, noQuery, nothing, portMappingPath } from '../schemas.js';

const tags = ['port mappings'];

export function portMappingRoutes(app: Api, { portMappings }: Node): void {
  app.post(
    '/nat/port-mappings',
    {
      schema: {
        tags,
        operationId: 'createPortMapping',
        summary: 'Open a port of the node towards a container',
        description:
          'It lets nobody in by itself: policies judge the client that connects. The answer says whether they let anybody from outside in.',
        querystring: noQuery,
        body: portMappingRequest,
        response: answers({ 201: portMapping }),
      },
    },
    async (request, reply) => {
      const made = await portMappings.create(request.body);
      return reply.code(201).header('location', `/nat/port-mappings/${made.id}`).send(made);
    },
  );

  app.get(
    '/nat/port-mappings',
    {
      schema: {
        tags,
        operationId: 'listPortMappings',
        summary: 'Every port mapping, those of ports that containers were connected with included',
        querystring: noQuery,
        response: answers({ 200: portMappingList }),
      },
    },
    async () => ({ port_mappings: await portMappings.list() }),
  );

  app.get(
    '/nat/port-mappings/:id',
    {
      schema: {
        tags,
        operationId: 'getPortMapping',
        summary: 'One port mapping',
        params: portMappingPath,
        querystring: noQuery,
        response: answers({ 200: portMapping }),
      },
    },
    async ({ params }) => portMappings.get(params.id),
  );

  app.delete(
    '/nat/port-mappings/:id',
    {
      schema: {
        tags,
        operationId: 'deletePortMapping',
        summary: 'Close the port of the node; connections that are open go on',
        params: portMappingPath,
        querystring: noQuery,
        response: answers({ 204: nothing }),
      },
    },
    async ({ params }, reply) => {
      await portMappings.delete(params.id);
      return reply.code(204).send();
    },
  );
}
