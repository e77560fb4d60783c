/** Connections: what the node remembers of who talks to whom. */
import { z } from 'zod';
import { anyCidr, ipAddress } from './address.js';
import { containerId, dnsLabel, interfaceName, port } from './names.js';
import { numberInDigits, trueOrFalse } from './query.js';

export const CONNECTIONS_LIMIT_DEFAULT = 1000;
export const CONNECTIONS_LIMIT_MAX = 10000;

export const connectionProtocol = z
  .enum(['TCP', 'UDP', 'SCTP', 'ICMP', 'ICMPv6'])
  .describe('Transport protocol, or ICMP for echoes');
export type ConnectionProtocol = z.infer<typeof connectionProtocol>;

export const connectionState = z
  .enum(['opening', 'established', 'closing', 'closed', 'unanswered', 'answered'])
  .describe(
    'TCP: opening, established, closing (one side has), closed (both, or a reset); others: unanswered or answered',
  );
export type ConnectionState = z.infer<typeof connectionState>;

/** Which connections are meant: those that all of it fits. */
export const connectionFilter = z.strictObject({
  protocol: connectionProtocol.optional(),
  address: z
    .union([ipAddress, anyCidr])
    .optional()
    .describe('Address or range that one of the ends has, or is translated to'),
  container_id: containerId.optional().describe('Only connections from or to this container'),
  network: dnsLabel.optional().describe('Only connections from or to containers of this network'),
  port: numberInDigits(port).optional().describe('Port that one of the ends has, or is translated to'),
  state: connectionState.optional(),
  translated: trueOrFalse.optional().describe('Whether the address of one end is translated'),
});
export type ConnectionFilter = z.output<typeof connectionFilter>;

/** Query of GET /nat/connections. */
export const connectionQuery = connectionFilter.extend({
  limit: numberInDigits(z.int().min(1).max(CONNECTIONS_LIMIT_MAX))
    .prefault(CONNECTIONS_LIMIT_DEFAULT)
    .describe(`Most connections that are told, at most ${CONNECTIONS_LIMIT_MAX}`),
});
export type ConnectionQuery = z.output<typeof connectionQuery>;

/** Query of DELETE /nat/connections. */
export const flushQuery = connectionFilter
  .extend({ all: trueOrFalse.optional().describe('Every connection, where nothing else is said') })
  .refine(
    ({ all = false, ...filter }) => all !== Object.values(filter).some((value) => value !== undefined),
    'needs a filter, or `all`, and not both',
  );

const connectionEnd = z
  .strictObject({
    ip: ipAddress,
    port: port.optional(),
    container_id: containerId.optional().describe('Missing: it is no container of this node'),
    network: dnsLabel.optional(),
    interface_name: interfaceName.optional(),
  })
  .meta({ id: 'ConnectionEnd' });
export type ConnectionEnd = z.infer<typeof connectionEnd>;

export const connection = z
  .strictObject({
    protocol: connectionProtocol,
    source: connectionEnd.describe('Who has opened it'),
    destination: connectionEnd,
    icmp_id: z.int().min(0).max(65535).optional().describe('Identifier of an echo'),
    translated: z
      .strictObject({
        end: z.enum(['source', 'destination']).describe('Whose address it is in place of'),
        ip: ipAddress,
        port: z.int().min(0).max(65535).describe('Port, or identifier of an echo'),
      })
      .optional()
      .describe('As the other end knows it'),
    state: connectionState,
    expires_in_seconds: z.int().min(0).describe('How long it is remembered if nothing more is said'),
    egress_rule: z.string().optional().describe('Rule that let the source send it'),
    ingress_rule: z.string().optional().describe('Rule that let the destination receive it'),
  })
  .meta({ id: 'Connection', description: 'A connection that the node remembers' });
export type Connection = z.infer<typeof connection>;

/** Answer of GET /nat/connections. */
export const connectionList = z
  .strictObject({
    connections: z.array(connection),
    truncated: z.boolean().describe('There are more than the limit'),
  })
  .meta({ id: 'ConnectionList' });
export type ConnectionList = z.infer<typeof connectionList>;

/** Answer of DELETE /nat/connections. */
export const flushed = z
  .strictObject({ flushed: z.int().min(0).describe('Connections that were forgotten') })
  .meta({ id: 'Flushed' });
