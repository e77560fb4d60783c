/** Answers of GET /healthz and GET /readyz. */
import { z } from 'zod';

export const health = z
  .strictObject({
    status: z.literal('ok').describe('The daemon is alive'),
    version: z.string().max(64).describe('Version of the daemon'),
  })
  .meta({ id: 'Health' });
export type Health = z.infer<typeof health>;

/** What must hold before the daemon may serve. */
export const READINESS = ['programs', 'store', 'sync'] as const;

export const readiness = z
  .strictObject({
    ready: z.boolean().describe('Whether every condition holds'),
    checks: z
      .array(
        z.strictObject({
          name: z
            .enum(READINESS)
            .describe('programs: loaded; store: open; sync: first comparison with the kernel done'),
          ready: z.boolean(),
          message: z.string().max(1024).optional().describe('Why it does not hold'),
        }),
      )
      .max(READINESS.length),
  })
  .meta({ id: 'Readiness' });
export type Readiness = z.infer<typeof readiness>;
