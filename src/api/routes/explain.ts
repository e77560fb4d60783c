import { explainRequest, explanation } from '../../model/explanation.js';
import type { Node } from '../../vnet/contract.js';
import { type Api, answers, noQuery } from '../schemas.js';

export function explainRoutes(app: Api, { explanations }: Node): void {
  app.post(
    '/explain',
    {
      schema: {
        tags: ['flows'],
        operationId: 'explain',
        summary: 'What would become of a packet, and why; nothing is sent',
        querystring: noQuery,
        body: explainRequest,
        response: answers({ 200: explanation }),
      },
    },
    async ({ body }) => explanations.explain(body),
  );
}
