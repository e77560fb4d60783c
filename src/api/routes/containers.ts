import { containerList, endpoint, endpointPatch, endpointRequest } from '../../model/endpoint.js';
import type { Node } from '../../vnet/contract.js';
import {
  type Api,
  answers,
  containerPath,
  containerQuery,
  networkPath,
  noQuery,
  nothing,
} from '../schemas.js';

const tags = ['containers'];

export function containerRoutes(app: Api, { endpoints }: Node): void {
  app.post(
    '/networks/:name/containers',
    {
      schema: {
        tags,
        operationId: 'connectContainer',
        summary: 'Connect a container to the network',
        params: networkPath,
        querystring: noQuery,
        body: endpointRequest,
        response: answers({ 201: endpoint }),
      },
    },
    async (request, reply) => {
      const made = await endpoints.connect(request.params.name, request.body);
      const path = `/networks/${made.network}/containers/${made.container_id}`;
      return reply.code(201).header('location', path).send(made);
    },
  );

  app.get(
    '/networks/:name/containers',
    {
      schema: {
        tags,
        operationId: 'listContainers',
        summary: 'Containers that are connected to the network',
        params: networkPath,
        querystring: noQuery,
        response: answers({ 200: containerList }),
      },
    },
    async (request) => ({ containers: endpoints.list(request.params.name) }),
  );

  app.get(
    '/networks/:name/containers/:container_id',
    {
      schema: {
        tags,
        operationId: 'getContainer',
        summary: 'One connected container',
        params: containerPath,
        querystring: containerQuery,
        response: answers({ 200: endpoint }),
      },
    },
    async ({ params, query }) => endpoints.get(params.name, params.container_id, query.interface_name),
  );

  app.patch(
    '/networks/:name/containers/:container_id',
    {
      schema: {
        tags,
        operationId: 'updateContainer',
        summary: 'Change labels, namespace or options of a connected container, while it runs',
        description:
          'What is given replaces what was: labels as a whole, and so options. `label_changes` changes the labels that it names, and leaves the others as they are at that moment.',
        params: containerPath,
        querystring: containerQuery,
        body: endpointPatch,
        response: answers({ 200: endpoint }),
      },
    },
    async ({ params, query, body }) =>
      endpoints.patch(params.name, params.container_id, body, query.interface_name),
  );

  app.delete(
    '/networks/:name/containers/:container_id',
    {
      schema: {
        tags,
        operationId: 'disconnectContainer',
        summary: 'Disconnect a container, with every interface or with the one that is named',
        params: containerPath,
        querystring: containerQuery,
        response: answers({ 204: nothing }),
      },
    },
    async ({ params, query }, reply) => {
      await endpoints.disconnect(params.name, params.container_id, query.interface_name);
      return reply.code(204).send();
    },
  );
}
