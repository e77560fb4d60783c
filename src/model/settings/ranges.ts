/** Ports of the node that the daemon gives away, and the addresses of services. */
import { z } from 'zod';
import { type Cidr, type Family, networkCidr4, networkCidr6, parseCidr } from '../address.js';
import { integer } from './values.js';

/** Value of service_cidr and service_cidr6: every service names its address of that family, or has none. */
const NO_SERVICE_RANGE = 'none';

/** The range, or undefined for `none`. */
export function serviceCidr(text: string): Cidr | undefined {
  return text === NO_SERVICE_RANGE ? undefined : parseCidr(text);
}

function serviceRange(family: Family, fallback: string) {
  return z
    .union([z.literal(NO_SERVICE_RANGE), family === 4 ? networkCidr4 : networkCidr6])
    .default(fallback)
    .describe(
      `IPv${family} range of which services get an address; \`none\`: they get none but what they name`,
    );
}

export const rangeSettings = {
  nat_port_min: integer('First port of the node that masqueraded flows may take', 61000, 1024, 65535),
  nat_port_max: integer('Last port of the node that masqueraded flows may take', 65535, 1024, 65535),
  port_mapping_min: integer(
    'First port of the node that is given to a port mapping or service that names none',
    30000,
    1,
    65535,
  ),
  port_mapping_max: integer('Last such port', 32767, 1, 65535),
  service_cidr: serviceRange(4, '10.96.0.0/16'),
  service_cidr6: serviceRange(6, 'fd00:96::/112'),
};

interface PortRanges {
  nat_port_min: number;
  nat_port_max: number;
  port_mapping_min: number;
  port_mapping_max: number;
}

export function checkPortRanges({ value, issues }: z.core.ParsePayload<PortRanges>): void {
  function refuse(key: keyof PortRanges, message: string): void {
    issues.push({ code: 'custom', path: [key], message, input: value });
  }
  if (value.nat_port_min > value.nat_port_max) refuse('nat_port_max', 'must not be less than nat_port_min');
  if (value.port_mapping_min > value.port_mapping_max) {
    refuse('port_mapping_max', 'must not be less than port_mapping_min');
  }
  if (value.port_mapping_min <= value.nat_port_max && value.nat_port_min <= value.port_mapping_max) {
    refuse('port_mapping_max', 'the range must not overlap that of nat_port_min to nat_port_max');
  }
}
