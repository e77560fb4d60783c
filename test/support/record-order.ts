/** Whether the records of a store agree with each other: keys, addresses and who has them, identities, rules. */

import { placeText } from '../../src/nat/frontend.js';
import type { Reader } from '../../src/store/store.js';
import {
  addresses,
  attachments,
  endpointKeys,
  endpoints,
  frontendNumbers,
  identities,
  identityKeys,
  networks,
  pools,
  portMappings,
  released,
  ruleKeys,
  rules,
  ruleText,
  runtimeNetworks,
  services,
  stagedEndpoints,
} from '../../src/store/tables.js';
import { placesOfMapping, placesOfService } from '../../src/vnet/nat/published.js';
import { differences } from './differences.js';

/** What the records do not agree on among themselves. */
export function contradictions(records: Reader): string[] {
  const all = records.list(endpoints);
  const ips = all.flatMap(({ id, network_id, ip_address, ip6_address }) =>
    [ip_address, ip6_address].flatMap((ip) =>
      ip === undefined ? [] : [`address ${network_id} ${ip} of ${id}`],
    ),
  );
  const wanted = [
    ...all.map((one) => `key ${one.network_id} ${one.container_id} ${one.interface_name} of ${one.id}`),
    ...all.map(({ id }) => `attachment ${id}`),
    ...ips,
    ...[...new Set(all.map(({ identity }) => identity))].map((id) => `identity ${id}`),
    ...records.list(identities).map(({ id }) => `key of identity ${id}`),
    ...records.list(rules).map(({ cookie, ref }) => `key ${ruleText(ref)} of rule ${cookie}`),
    ...records.list(attachments).flatMap(({ endpoint_id, staged_key }) => {
      return staged_key === undefined ? [] : [`staged endpoint ${endpoint_id}: ${staged_key}`];
    }),
    ...placesGiven(records).map((place) => `number of ${place}`),
    ...records.list(pools).flatMap((pool) => {
      const used = records
        .list(addresses, [pool.network_id])
        .filter(({ address }) => address.includes(':') === (pool.family === 6)).length;
      const waiting = queueOf(records, pool.network_id, pool.oldest);
      return [`pool ${pool.network_id}/${pool.family}: ${used} used, waiting ${waiting}`];
    }),
  ];
  const present = [
    ...records
      .list(endpointKeys)
      .map((key) => `key ${key.network_id} ${key.container_id} ${key.interface_name} of ${key.endpoint_id}`),
    ...records.list(attachments).map(({ endpoint_id }) => `attachment ${endpoint_id}`),
    ...records
      .list(addresses)
      .map(({ network_id, address, endpoint_id }) => `address ${network_id} ${address} of ${endpoint_id}`),
    ...records.list(identities).map(({ id }) => `identity ${id}`),
    ...records.list(identityKeys).map(({ identity }) => `key of identity ${identity}`),
    ...records.list(rules).flatMap(({ ref }) => {
      const cookie = records.get(ruleKeys, [ruleText(ref)])?.cookie;
      return cookie === undefined ? [] : [`key ${ruleText(ref)} of rule ${cookie}`];
    }),
    ...records.list(stagedEndpoints).map(({ endpoint_id, key }) => `staged endpoint ${endpoint_id}: ${key}`),
    ...records.list(frontendNumbers).map(({ text }) => `number of ${text}`),
    ...records.list(pools).map((pool) => {
      const waiting = records
        .list(released, [pool.network_id])
        .filter(({ address }) => address.includes(':') === (pool.family === 6))
        .map(({ address }) => address);
      const inOrder = queueOf(records, pool.network_id, pool.oldest).split(' ').filter(Boolean);
      const isWhole = inOrder.length === pool.waiting && inOrder.at(-1) === pool.newest;
      const isSame = waiting.every((address) => inOrder.includes(address));
      const queue = isWhole && isSame ? inOrder.join(' ') : `${waiting} in disorder`;
      return `pool ${pool.network_id}/${pool.family}: ${pool.used} used, waiting ${queue}`;
    }),
  ];
  const given = new Set(records.list(addresses).map(({ network_id, address }) => `${network_id} ${address}`));
  const ids = new Set(records.list(networks).map(({ id }) => id));
  const orphans = [...records.list(pools), ...records.list(addresses), ...records.list(released)];
  const keysOfRules = records.list(ruleKeys).length;
  return [
    ...differences(wanted, present).map((line) => `records: ${line}`),
    ...records
      .list(released)
      .filter(({ network_id, address }) => given.has(`${network_id} ${address}`))
      .map(({ address }) => `records: ${address} is in use and released`),
    ...orphans
      .filter(({ network_id }) => !ids.has(network_id))
      .map(({ network_id }) => `records: addresses of network ${network_id}, which is gone`),
    ...records
      .list(runtimeNetworks)
      .filter(({ network_id }) => !ids.has(network_id))
      .map(({ key }) => `records: a name ${key} for a network that is gone`),
    ...(keysOfRules === records.list(rules).length ? [] : [`records: ${keysOfRules} keys of rules`]),
  ];
}

/** Where port mappings and services are. */
function placesGiven(records: Reader): string[] {
  const mapped = records.list(portMappings).flatMap((mapping) => {
    const endpoint = records.get(endpoints, [mapping.endpoint_id]);
    return endpoint === undefined
      ? [`port mapping ${mapping.id} of endpoint ${mapping.endpoint_id}, which is gone`]
      : placesOfMapping(mapping, endpoint).map(placeText);
  });
  return [...mapped, ...records.list(services).flatMap(placesOfService).map(placeText)];
}

/** The released addresses from the oldest on, as their records lead to each other. */
function queueOf(records: Reader, networkId: number, oldest: string | undefined): string {
  const queue: string[] = [];
  for (let next = oldest; next !== undefined && !queue.includes(next); ) {
    queue.push(next);
    next = records.get(released, [networkId, next])?.newer;
  }
  return queue.join(' ');
}
