import { z } from 'zod';
import { policy, policyList, policyRef } from '../../model/policy.js';
import {
  POLICIES_MAX,
  POLICY_TEXT_MAX,
  type PolicyRequest,
  policyRequest,
} from '../../model/policy-request.js';
import type { Node } from '../../vnet/contract.js';
import { acceptYaml, YAML_TYPES } from '../body.js';
import { policyPreview, policyQuery } from '../preview-schema.js';
import { type Api, answers, noQuery, nothing, policyPath, validatePolicies } from '../schemas.js';

const tags = ['policies'];

export function policyRoutes(app: Api, { policies }: Node): void {
  acceptYaml(app, { documents: POLICIES_MAX, bytes: POLICY_TEXT_MAX });

  app.post<{ Body: PolicyRequest; Querystring: z.output<typeof policyQuery> }>(
    '/policies',
    {
      bodyLimit: POLICY_TEXT_MAX,
      validatorCompiler: validatePolicies,
      schema: {
        tags,
        operationId: 'applyPolicy',
        summary: 'Make or replace policies: objects of Kubernetes, as JSON or YAML',
        description: `One object, a list of kind List, or several YAML documents, at most ${POLICIES_MAX} in all. They are applied as a whole or not at all, and are in force from the same moment on. Of several, the answer is a list.`,
        consumes: ['application/json', ...YAML_TYPES],
        querystring: policyQuery,
        body: policyRequest,
        response: answers({ 200: z.union([policy, policyList, policyPreview]), 201: policy }),
      },
    },
    async ({ body, query }, reply) => {
      if (query.dry_run) return reply.send(await policies.preview(body.policies));
      const applied = await policies.apply(body.policies);
      const [first] = applied;
      if (!body.isSingle || first === undefined) {
        return reply.send({ policies: applied.map(({ policy }) => policy) });
      }
      const { namespace, name } = policyRef(first.policy);
      return reply
        .code(first.created ? 201 : 200)
        .header('location', `/policies/${namespace}/${name}`)
        .send(first.policy);
    },
  );

  app.get(
    '/policies',
    {
      schema: {
        tags,
        operationId: 'listPolicies',
        summary: 'Every policy, of every kind',
        querystring: noQuery,
        response: answers({ 200: policyList }),
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
        response: answers({ 200: policy }),
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
