import { networkPolicy, networkPolicyList, POLICY_TEXT_MAX } from '../../model/policy.js';
import type { Node } from '../../vnet/services.js';
import { acceptYaml, YAML_TYPES } from '../body.js';
import { type Api, answers, noQuery, nothing, policyPath, validateBodyAs } from '../schemas.js';

const tags = ['policies'];

export function policyRoutes(app: Api, { policies }: Node): void {
  acceptYaml(app);

  app.post(
    '/policies',
    {
      bodyLimit: POLICY_TEXT_MAX,
      validatorCompiler: validateBodyAs('INVALID_POLICY', 'policy'),
      schema: {
        tags,
        operationId: 'applyPolicy',
        summary: 'Make or replace a policy: the object of Kubernetes, as JSON or YAML',
        consumes: ['application/json', ...YAML_TYPES],
        querystring: noQuery,
        body: networkPolicy,
        response: answers({ 200: networkPolicy, 201: networkPolicy }),
      },
    },
    async (request, reply) => {
      const { policy, created } = await policies.apply(request.body);
      const { namespace, name } = policy.metadata;
      const path = `/policies/${namespace}/${name}`;
      return reply
        .code(created ? 201 : 200)
        .header('location', path)
        .send(policy);
    },
  );

  app.get(
    '/policies',
    {
      schema: {
        tags,
        operationId: 'listPolicies',
        summary: 'Every policy',
        querystring: noQuery,
        response: answers({ 200: networkPolicyList }),
      },
    },
    async () => ({ policies: policies.list() }),
  );

  app.get(
    '/policies/:namespace/:name',
    {
      schema: {
        tags,
        operationId: 'getPolicy',
        summary: 'One policy',
        params: policyPath,
        querystring: noQuery,
        response: answers({ 200: networkPolicy }),
      },
    },
    async ({ params }) => policies.get(params.namespace, params.name),
  );

  app.delete(
    '/policies/:namespace/:name',
    {
      schema: {
        tags,
        operationId: 'deletePolicy',
        summary: 'Remove a policy',
        params: policyPath,
        querystring: noQuery,
        response: answers({ 204: nothing }),
      },
    },
    async ({ params }, reply) => {
      await policies.delete(params.namespace, params.name);
      return reply.code(204).send();
    },
  );
}
