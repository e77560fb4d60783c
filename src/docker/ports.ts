/** Ports of the node that lead to a container: `docker run -p`. */
import { z } from 'zod';
import { ipAddress } from '../model/address.js';
import { type EndpointPort, endpointRequest } from '../model/endpoint.js';
import { AppError, parseWith } from '../model/errors.js';
import { PROTOCOL_NUMBERS, type Protocol } from '../model/names.js';

/** Key of the options that Docker hands ports in. */
const PORT_MAP = 'com.docker.network.portmap';
const BINDINGS_MAX = 1024;

const number = z.int().min(0).max(65535);

/** libnetwork's PortBinding. HostPort 0: any port will do; HostPortEnd above it: any of that range. */
const binding = z.looseObject({
  Proto: z.int().min(0).max(255),
  Port: number.min(1),
  HostIP: z.preprocess((value) => (value === '' || value === null ? undefined : value), ipAddress.optional()),
  HostPort: number.default(0),
  HostPortEnd: number.default(0),
});

/** Stands for "every address of the node", which is what no address stands for here. */
const EVERYWHERE = new Set(['0.0.0.0', '::']);

/** The ports that Docker asks for. Throws INVALID_REQUEST. */
export function publishedPorts(options: Record<string, unknown> | undefined): EndpointPort[] {
  const given = options?.[PORT_MAP];
  if (given === undefined || given === null) return [];
  const schema = z.array(binding).max(BINDINGS_MAX);
  const ports = parseWith(schema, given, 'INVALID_REQUEST', PORT_MAP).map((one, index) => {
    const host_port = chosenPort(one, index);
    const isLimited = one.HostIP !== undefined && !EVERYWHERE.has(one.HostIP);
    return {
      container_port: one.Port,
      protocol: protocolOf(one.Proto, index),
      host_port,
      ...(isLimited ? { host_ip: one.HostIP } : {}),
    };
  });
  // `-p 80:80` is two bindings in newer versions, one for each family.
  const distinct = [...new Map(ports.map((port) => [JSON.stringify(port), port])).values()];
  return parseWith(endpointRequest.shape.ports, distinct, 'INVALID_REQUEST', PORT_MAP);
}

function protocolOf(number: number, index: number): Protocol {
  const found = Object.entries(PROTOCOL_NUMBERS).find(([, known]) => known === number);
  if (found === undefined) throw refused(index, 'Proto', `protocol ${number} cannot be published`);
  return found[0] as Protocol;
}

function chosenPort({ HostPort, HostPortEnd }: z.output<typeof binding>, index: number): number {
  if (HostPort === 0) throw refused(index, 'HostPort', 'name the port of the node: -p 8080:80');
  if (HostPortEnd !== 0 && HostPortEnd !== HostPort) {
    throw refused(index, 'HostPortEnd', 'name one port of the node for each of the container');
  }
  return HostPort;
}

function refused(index: number, field: string, message: string): AppError {
  const path = `${PORT_MAP}[${index}].${field}`;
  return new AppError('INVALID_REQUEST', `invalid ${PORT_MAP}: ${message}`, { details: [{ path, message }] });
}
