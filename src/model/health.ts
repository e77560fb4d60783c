/** Answers of GET /healthz and GET /readyz. */
import { z } from 'zod';
import { ipv4Address, ipv6Address } from './address.js';
import { CUT_OFF_TOLD, cutOff } from './cut-off.js';
import { interfaceName } from './names.js';
import { UPLINKS_MAX } from './settings/node.js';

export const health = z
  .strictObject({
    status: z.literal('ok').describe('The daemon is alive'),
    version: z.string().max(64).describe('Version of the daemon'),
  })
  .meta({ id: 'Health' });
export type Health = z.infer<typeof health>;

/** What must hold before the daemon may serve. */
export const READINESS = ['programs', 'store', 'sync'] as const;

/** The interface to the outside; without a name there is none, and the message says why. */
export const uplinkState = z.strictObject({
  interface: interfaceName.optional().describe('Interface to the outside'),
  ip_address: ipv4Address.optional().describe('IPv4 address that containers leave under'),
  ip6_address: ipv6Address.optional().describe('IPv6 address that containers leave under'),
  message: z.string().max(1024).optional().describe('Why there is none'),
  xdp: z
    .enum(['native', 'none'])
    .optional()
    .describe('Where what comes in is looked at first: native: in the driver, by XDP; none: by TC'),
  xdp_message: z.string().max(1024).optional().describe('Why XDP does not do it'),
});
export type UplinkState = z.infer<typeof uplinkState>;

/** Without a cgroup the node's own processes reach no port mapping, and the message says why. */
export const nodeConnectState = z.strictObject({
  cgroup: z.string().max(1024).optional().describe('Cgroup of the processes that are served'),
  message: z.string().max(1024).optional().describe('Why none is served'),
});
export type NodeConnectState = z.infer<typeof nodeConnectState>;

/** There while the recorded policies do not fit into the kernel. */
export const policyState = z.strictObject({
  identities_cut_off: z
    .int()
    .min(1)
    .describe('Identities whose containers reach nobody, and nobody reaches them'),
  cut_off: z.array(cutOff).max(CUT_OFF_TOLD).describe('Which: the first of them, by number'),
  message: z.string().max(1024).describe('Why, and what to do'),
});
export type PolicyState = z.infer<typeof policyState>;

/** How many places are told of, and how many programs at each: BPF_MPROG_MAX of the kernel. */
export const PRECEDED_TOLD = 16;
export const PRECEDED_BY_TOLD = 64;

/** There while programs of others run before ours, where ours are to be the first. */
export const precededState = z.strictObject({
  attachments: z.int().min(1).describe('Places where ours is not the first'),
  first: z
    .array(
      z.strictObject({
        pin: z.string().max(64).describe('Name of the pin; of a filter of clsact: where it is'),
        program: z.string().max(16).describe('The program of ours'),
        in_front: z
          .array(
            z.strictObject({
              id: z.int().min(0).describe('Of the program, as `bpftool prog` has it; 0: it is none'),
              name: z.string().max(16).describe('Of the program; empty: not known'),
            }),
          )
          .max(PRECEDED_BY_TOLD)
          .describe('Who runs before it, the first first'),
      }),
    )
    .max(PRECEDED_TOLD)
    .describe('Some of them'),
  message: z.string().max(1024).describe('What that means, and what to do'),
});
export type PrecededState = z.infer<typeof precededState>;

export const UNREPAIRED_TOLD = 16;

/** There while programs or pins that somebody takes away cannot be put back, or are taken away again and again. */
export const unrepairedState = z.strictObject({
  problems: z.int().min(1).describe('How many there are'),
  first: z.array(z.string().max(1024)).max(UNREPAIRED_TOLD).describe('Some of them'),
  message: z.string().max(1024).describe('What that means'),
});
export type UnrepairedState = z.infer<typeof unrepairedState>;

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
    uplink: uplinkState.optional().describe('How containers reach the outside; no condition of readiness'),
    uplinks: z
      .array(uplinkState)
      .max(2 * UPLINKS_MAX)
      .optional()
      .describe('Every way to the outside, `uplink` first, and why interfaces of the setting are none'),
    node_connect: nodeConnectState
      .optional()
      .describe("How the node's own processes reach port mappings and services; no condition of readiness"),
    policies: policyState
      .optional()
      .describe('There while recorded policies do not fit into the kernel; no condition of readiness'),
    preceded: precededState
      .optional()
      .describe('There while programs of others run before ours; no condition of readiness'),
    unrepaired: unrepairedState
      .optional()
      .describe(
        'There while programs or pins that somebody takes away cannot be put back, or are taken away again and again; no condition of readiness',
      ),
  })
  .meta({ id: 'Readiness' });
export type Readiness = z.infer<typeof readiness>;
