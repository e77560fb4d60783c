/** Many changes at once leave exactly what a daemon that starts anew would make of the same records. */
import { expect, it } from 'vitest';
import { type Container, unlike } from '../support/containers.js';
import { random } from '../support/random.js';
import { useSite } from '../support/site.js';

const site = useSite();

const CONTAINERS = 24;
const ROUNDS = 12;

it('connect, disconnect, relabel, policies and namespaces, all at the same time', {
  timeout: 90_000,
}, async () => {
  const pick = random(7);
  const label = () => ({ app: `app-${pick(4)}` });
  const networks = ['blue', 'red', 'green'] as const;
  await site().network('blue', { isolation_mode: 'peer' });
  await site().network('red', { isolation_mode: 'mesh', peers: ['green'] });
  await site().network('green', { isolation_mode: 'mesh', peers: ['red'] });
  const containers = Array.from({ length: CONTAINERS }, (_, index) => site().bare(`c${index}`));
  const isConnected = new Set<Container>();

  const step = async (container: Container): Promise<void> => {
    if (!isConnected.has(container)) {
      isConnected.add(container);
      const namespace = pick(2) === 0 ? 'default' : 'prod';
      await container.connect(networks[pick(3)] ?? 'blue', { labels: label(), namespace });
    } else if (pick(3) === 0) {
      isConnected.delete(container);
      await container.disconnect();
    } else await container.relabel({ labels: label() });
  };
  const govern = async (round: number): Promise<void> => {
    const peer = { podSelector: { matchLabels: label() } };
    const from = pick(2) === 0 ? [peer] : [{ ...peer, namespaceSelector: { matchLabels: { team: 'x' } } }];
    await site().rest.apply({
      name: `policy-${pick(4)}`,
      namespace: pick(2) === 0 ? 'default' : 'prod',
      spec: {
        podSelector: { matchLabels: label() },
        policyTypes: pick(2) === 0 ? ['Ingress'] : ['Ingress', 'Egress'],
        ingress: [{ from, ports: [{ port: 80 + pick(3), endPort: 90 + pick(50) }] }],
        egress: [{ to: [peer] }],
      },
    });
    await site().rest.setNamespace('prod', { team: round % 2 === 0 ? 'x' : 'y' });
  };

  for (let round = 0; round < ROUNDS; round++) {
    await Promise.all([...containers.map(step), govern(round), govern(round)]);
  }
  const before = await site().state();
  expect(isConnected.size).toBeGreaterThan(5);
  await site().daemon.restart();
  expect(await site().state()).toEqual(before);
  expect(site().daemon.log).not.toMatch(/"level":(40|50|60)/);

  await site().rest.createNetwork({ name: 'quiet', cidr: '10.60.200.0/24', isolation_mode: 'peer' });
  const [x, y] = [await site().container('x', 'quiet'), await site().container('y', 'quiet')];
  expect(await unlike('open', 4, [x, y])).toEqual([]);
});
