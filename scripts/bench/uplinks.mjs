/**
 * A container and a host outside, masqueraded, through a node with two uplinks, whose routes are asked which one it is, and
 * through a node with the one of them that is used.
 */
import { createVethPair, Netns } from '../../dist/netns/index.js';
import { Cleanup } from './cleanup.mjs';
import { ourNode, SETTINGS, WORLD } from './nat.mjs';
import { Node } from './node.mjs';
import { openings } from './openings.mjs';
import { compile } from './processes.mjs';
import { compareSites, serve } from './traffic.mjs';

const PART = 'uplinks';
const SECOND = ['198.19.10.1/24', 'fd00:be:a0::1/64'];

export function uplinks({ rounds, seconds }) {
  return Cleanup.during(async (cleanup) => {
    const two = new Node(cleanup, { ...SETTINGS, uplink: 'uplink,second' });
    addUplink(cleanup, two.netns);
    const one = new Node(cleanup, { ...SETTINGS, uplink: 'uplink' });
    const tool = compile('traffic', two.directory);
    const sites = [];
    for (const [name, node] of [
      ['two uplinks', two],
      ['one uplink', one],
    ]) {
      const site = { ...(await ourNode(cleanup, node)), name };
      await requireUplinks(node, name === 'two uplinks' ? 2 : 1);
      await serve(cleanup, site.outside, tool);
      sites.push(site);
    }
    const ends = sites.map(({ name, container, outside }) => ({
      name,
      client: container,
      server: outside,
      address: WORLD,
    }));
    const connections = await openings('masquerade', sites, {}, { rounds, directory: two.directory });
    return [
      ...(await compareSites(PART, ends, {}, { rounds, seconds, tool })),
      ...connections.map((line) => ({ ...line, part: PART })),
    ];
  });
}

/** To somewhere that nobody of the bench is. */
function addUplink(cleanup, node) {
  const elsewhere = Netns.create();
  cleanup.add(() => elsewhere.close());
  createVethPair(
    { netns: node, name: 'second', addresses: SECOND },
    { netns: elsewhere, name: 'eth0', addresses: [] },
  );
}

/** One that could not be put to use would be measured as what it is compared with. */
async function requireUplinks({ rest }, count) {
  const { uplinks: found = [] } = await rest.call('GET', '/readyz');
  const used = found.filter((uplink) => uplink.interface !== undefined);
  if (used.length !== count) throw new Error(`${PART}: ${count} wanted, and ${used.length} in use`);
}
