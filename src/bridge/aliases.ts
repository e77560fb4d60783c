/** How an interface of ours is recognised without memory of it: by prefix of its name and by its alias. */
import type { LinkInfo } from '../native/net.js';

const ENDPOINT_ALIAS = 'quantum:endpoint:';
const NETWORK_ALIAS = 'quantum:network:';

export function endpointAlias(id: number): string {
  return `${ENDPOINT_ALIAS}${id}`;
}

export function networkAlias(id: number): string {
  return `${NETWORK_ALIAS}${id}`;
}

/**
 * What an interface is to us; undefined: somebody else's. The alias is set a moment after the interface is made, so
 * one of our names without any alias is ours too; one with another's alias is not.
 */
export function ownerOf(link: LinkInfo): { kind: 'endpoint' | 'network'; id: number } | undefined {
  const endpoint = /^qn([0-9a-f]{8})$/.exec(link.name);
  if (endpoint !== null && link.kind === 'veth') {
    const id = Number.parseInt(endpoint[1] ?? '', 16);
    return isAlias(link, endpointAlias(id)) ? { kind: 'endpoint', id } : undefined;
  }
  const network = /^qnbr([1-9][0-9]*)$/.exec(link.name);
  if (network !== null && link.kind === 'bridge') {
    const id = Number(network[1]);
    return isAlias(link, networkAlias(id)) ? { kind: 'network', id } : undefined;
  }
  return undefined;
}

function isAlias(link: LinkInfo, alias: string): boolean {
  return link.alias === undefined || link.alias === alias;
}
