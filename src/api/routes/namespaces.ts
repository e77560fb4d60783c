import { namespace, namespaceList, namespaceRequest } from '../../model/namespace.js';
import type { Node } from '../../vnet/contract.js';
import { type Api, answers, namespacePath, noQuery, nothing } from '../schemas.js';

const tags = ['namespaces'];

export function namespaceRoutes(app: Api, { namespaces }: Node): void {
  app.put(
    '/namespaces/:name',
    {
      schema: {
        tags,
        operationId: 'putNamespace',
        summary: 'Make a namespace, or replace its labels',
        params: namespacePath,
        querystring: noQuery,
        body: namespaceRequest,
        response: answers({ 200: namespace }),
      },
    },
    async (request) => namespaces.put(request.params.name, request.body),
  );

  app.get(
    '/namespaces',
    {
      schema: {
        tags,
        operationId: 'listNamespaces',
        summary: 'Every namespace',
        querystring: noQuery,
        response: answers({ 200: namespaceList }),
      },
    },
    async () => ({ namespaces: namespaces.list() }),
  );

  app.get(
    '/namespaces/:name',
    {
      schema: {
        tags,
        operationId: 'getNamespace',
        summary: 'One namespace',
        params: namespacePath,
        querystring: noQuery,
        response: answers({ 200: namespace }),
      },
    },
    async (request) => namespaces.get(request.params.name),
  );

  app.delete(
    '/namespaces/:name',
    {
      schema: {
        tags,
        operationId: 'deleteNamespace',
        summary: 'Remove a namespace that nothing is in',
        params: namespacePath,
        querystring: noQuery,
        response: answers({ 204: nothing }),
      },
    },
    async (request, reply) => {
      await namespaces.delete(request.params.name);
      return reply.code(204).send();
    },
  );
}
