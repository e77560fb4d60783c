import { service, serviceList, serviceRequest } from '../../model/service.js';
import type { Node } from '../../vnet/contract.js';
import { type Api, answers, noQuery, nothing, servicePath } from '../schemas.js';

const tags = ['services'];

export function serviceRoutes(app: Api, { services }: Node): void {
  app.post(
    '/services',
    {
      schema: {
        tags,
        operationId: 'applyService',
        summary: 'Make or replace a service',
        description:
          'It replaces the one of its namespace and name; addresses and node ports that are not asked for stay as they were given. Connections stay with their containers.',
        querystring: noQuery,
        body: serviceRequest,
        response: answers({ 200: service, 201: service }),
      },
    },
    async (request, reply) => {
      const { service, created } = await services.apply(request.body);
      return reply
        .code(created ? 201 : 200)
        .header('location', `/services/${service.namespace}/${service.name}`)
        .send(service);
    },
  );

  app.get(
    '/services',
    {
      schema: {
        tags,
        operationId: 'listServices',
        summary: 'Every service',
        querystring: noQuery,
        response: answers({ 200: serviceList }),
      },
    },
    async () => ({ services: services.list() }),
  );

  app.get(
    '/services/:namespace/:name',
    {
      schema: {
        tags,
        operationId: 'getService',
        summary: 'One service',
        params: servicePath,
        querystring: noQuery,
        response: answers({ 200: service }),
      },
    },
    async ({ params }) => services.get(params.namespace, params.name),
  );

  app.delete(
    '/services/:namespace/:name',
    {
      schema: {
        tags,
        operationId: 'deleteService',
        summary: 'Remove a service; connections that are open go on',
        params: servicePath,
        querystring: noQuery,
        response: answers({ 204: nothing }),
      },
    },
    async ({ params }, reply) => {
      await services.delete(params.namespace, params.name);
      return reply.code(204).send();
    },
  );
}
