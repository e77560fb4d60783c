/** Port mappings: a port of the node that leads to a port of a container. */
import { z } from 'zod';
import { ipAddress } from './address.js';
import { endpointId } from './endpoint.js';
import { containerId, dnsLabel, interfaceName, port, protocol, timestamp } from './names.js';

const PORT_MAPPING_ID_MAX = 0xffffffff;

export const portMappingId = z
  .int()
  .min(1)
  .max(PORT_MAPPING_ID_MAX)
  .describe('Number of the port mapping; never used again');

/** Body of POST /nat/port-mappings. */
export const portMappingRequest = z
  .strictObject({
    network: dnsLabel.describe('Name of the network'),
    container_id: containerId,
    interface_name: interfaceName
      .optional()
      .describe('Which interface, where the container has several in the network'),
    protocol: protocol.default('TCP'),
    host_port: port
      .optional()
      .describe('Port of the node; one from port_mapping_min to port_mapping_max if unsaid'),
    host_ip: ipAddress
      .optional()
      .describe(
        'Address of the node that the port is limited to; `0.0.0.0` and `::`: all of that family; all of both if unsaid',
      ),
    container_port: port.describe('Port inside the container'),
  })
  .meta({ id: 'PortMappingRequest', description: 'A port of the node to open towards a container' });
export type PortMappingRequest = z.output<typeof portMappingRequest>;

/** A port mapping as it is stored. */
export const portMappingRecord = z.strictObject({
  id: portMappingId,
  network: dnsLabel.describe('Name of the network'),
  container_id: containerId,
  interface_name: interfaceName.describe('Name of the interface inside the container'),
  endpoint_id: endpointId,
  protocol,
  host_port: port.describe('Port of the node'),
  host_ip: ipAddress.optional().describe('Address of the node that the port is limited to'),
  container_port: port.describe('Port inside the container'),
  created_at: timestamp,
});
export type PortMappingRecord = z.infer<typeof portMappingRecord>;

export const portMapping = portMappingRecord
  .extend({
    reachable_from_outside: z
      .boolean()
      .describe('Whether the policies let somebody outside reach the port of the container'),
    hint: z.string().optional().describe('What to do when it is not reachable'),
  })
  .meta({ id: 'PortMapping', description: 'A port of the node that leads to a port of a container' });
export type PortMapping = z.infer<typeof portMapping>;

/** Answer of GET /nat/port-mappings. */
export const portMappingList = z
  .strictObject({ port_mappings: z.array(portMapping) })
  .meta({ id: 'PortMappingList' });
export type PortMappingList = z.infer<typeof portMappingList>;
