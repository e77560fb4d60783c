/** Sizes of the maps, which are fixed when they are made. */
import { integer } from './values.js';

export const sizeSettings = {
  events_buffer_bytes: integer(
    'Bytes of the buffer between the programs and the daemon; a power of two',
    1048576,
    4096,
    1 << 28,
  ).refine((bytes) => (bytes & (bytes - 1)) === 0, 'must be a power of two'),
  conntrack_max: integer(
    'Connections that the node remembers, each of which takes 430 bytes of kernel memory whether it is used or not; 0: 262144, or 65536 where the node or the cgroup of the daemon has less than 4 GiB of memory, 16384 with less than 1 GiB',
    0,
    0,
    16777216,
  ).refine(
    (entries) => entries === 0 || entries >= 1024,
    'must be 0, or a whole number from 1024 to 16777216',
  ),
  frontends_max: integer('Port mappings, and ports of services at each address', 65536, 16, 1048576),
  service_slots_max: integer(
    'Slots of all services together: at least 100 for each backend, or one for a single backend',
    1048576,
    1024,
    67108864,
  ),
  backends_max: integer('Backends of all services and port mappings together', 65536, 16, 1048576),
  affinity_max: integer('Clients whose backend is remembered between connections', 65536, 1024, 16777216),
  policy_max: integer('Entries of the compiled policy', 1048576, 1024, 16777216),
  policy_cidrs_max: integer('Address ranges of the compiled policy', 1048576, 1024, 16777216),
  port_names_max: integer('Ports of endpoints that have a name', 65536, 256, 1048576),
  subjects_max: integer('Identities that have a policy on the node', 65536, 256, 1048576),
  endpoints_max: integer('Endpoints on the node', 16384, 16, 65536),
  prefixes_max: integer(
    'Address ranges of networks, and addresses of the node and of services',
    65536,
    256,
    1048576,
  ),
};
