/** What users of Docker say by options, labels and ports. */
import { describe, expect, it } from 'vitest';
import { type DockerContainer, identityOf } from '../../src/docker/container-labels.js';
import { endpointOptions, networkOptions } from '../../src/docker/options.js';
import { publishedPorts } from '../../src/docker/ports.js';
import { LABELS_MAX } from '../../src/model/names.js';

const ID = 'A1'.repeat(32);
const RANGES = { cidr: '10.61.0.0/24' };

function requestOf(generic: Record<string, unknown>, others: Record<string, unknown> = {}) {
  const options = networkOptions(ID, { 'com.docker.network.generic': generic, ...others });
  return options.existing === undefined ? options.request(RANGES) : options.existing;
}

describe('options of a network', () => {
  it('become the request', () => {
    const request = requestOf({
      'quantum.name': 'web',
      'quantum.isolation_mode': 'mesh-only',
      'quantum.peers': 'front,back',
      'quantum.labels': 'a=b,c=d',
      'quantum.mtu': '1400',
      'quantum.multicast': 'true',
      'quantum.masquerade': 'false',
    });
    expect(request).toMatchObject({
      name: 'web',
      isolation_mode: 'mesh',
      peers: ['front', 'back'],
      labels: { a: 'b', c: 'd', 'quantum.network/made-by': 'docker' },
      options: { mtu: 1400, multicast: true, broadcast: false, masquerade: false },
    });
  });

  it('may be left out: the name is then made of the id, and nothing is open', () => {
    expect(networkOptions(ID).existing).toBeUndefined();
    expect(requestOf({})).toMatchObject({ name: 'docker-a1a1a1a1a1a1', isolation_mode: 'full' });
  });

  it('may name a network that exists, and nothing else then', () => {
    expect(requestOf({ 'quantum.network': 'blue' })).toBe('blue');
    expect(() => requestOf({ 'quantum.network': 'blue', 'quantum.mtu': '1400' })).toThrow(
      'quantum.mtu goes not',
    );
  });

  it.each([
    [{ 'quantum.mtuu': '1' }, {}, 'quantum.mtuu is not known'],
    [{ constructor: '1' }, {}, 'constructor is not known'],
    [{ 'quantum.mtu': '1e3' }, {}, 'quantum.mtu must be a whole number'],
    [{ 'quantum.mtu': '1' }, {}, 'options.mtu'],
    [{ 'quantum.masquerade': 'no' }, {}, 'quantum.masquerade must be true or false'],
    [{ 'quantum.labels': '' }, {}, 'quantum.labels must be labels'],
    [{ 'quantum.labels': 'a b=c' }, {}, 'quantum.labels'],
    [{ 'quantum.name': 'A' }, {}, 'name'],
    [{ 'quantum.network': '../x' }, {}, 'quantum.network'],
    [{ 'quantum.mtu': 1400 }, {}, 'options'],
    [{}, { 'com.docker.network.internal': true }, '--internal is not supported'],
  ])('%j with %j are refused', (generic, others, reason) => {
    expect(() => requestOf(generic, others)).toThrow(reason);
  });
});

describe('options of an endpoint', () => {
  it('name labels and namespace; those of others are left alone', () => {
    const options = { 'quantum.labels': 'a=b;c=', 'quantum.namespace': 'shop', 'com.docker.x': {} };
    expect(endpointOptions(options)).toEqual({ labels: { a: 'b', c: '' }, namespace: 'shop' });
    expect(endpointOptions()).toEqual({ labels: undefined, namespace: undefined });
  });

  it('are limits of bandwidth, in bits', () => {
    const options = { 'quantum.egress_rate': '10000000', 'quantum.egress_burst': '400000' };
    expect(endpointOptions(options).bandwidth).toEqual({ egress_rate: 10_000_000, egress_burst: 400_000 });
    expect(endpointOptions().bandwidth).toBeUndefined();
  });

  it.each([
    [{ 'quantum.label': 'a=b' }, 'quantum.label is not known'],
    [{ 'quantum.labels': ['a=b'] }, 'quantum.labels must be labels'],
    [{ 'quantum.namespace': 'A' }, 'quantum.namespace'],
    [{ 'quantum.egress_rate': '10M' }, 'quantum.egress_rate must be a whole number'],
    [{ 'quantum.egress_rate': 10_000_000 }, 'quantum.egress_rate must be a whole number'],
    [{ 'quantum.egress_rate': '9'.repeat(20) }, 'quantum.egress_rate must be a whole number'],
    [{ 'quantum.egress_rate': '1' }, 'egress_rate'],
    [{ 'quantum.ingress_burst': '80000' }, 'ingress_burst: needs ingress_rate'],
    [{ 'quantum.rate': '80000' }, 'quantum.rate is not known'],
  ])('%j are refused', (options, reason) => {
    expect(() => endpointOptions(options)).toThrow(reason);
  });
});

describe('labels of a container', () => {
  const nobody = { labels: {}, namespace: 'default' };
  const container = (labels: Record<string, string>, imageLabels = {}): DockerContainer => ({
    id: 'c1',
    labels,
    imageLabels,
  });

  it('count as the user has given them, and not as the image has', () => {
    const image = { app: 'admin', tier: 'back' };
    expect(identityOf(container({ app: 'admin', tier: 'front', own: 'yes' }, image), nobody)).toEqual({
      container_id: 'c1',
      namespace: 'default',
      labels: { tier: 'front', own: 'yes' },
    });
  });

  it('that no policy could name are left out, and so is what Docker’s tools write for themselves', () => {
    const labels = {
      'a b': 'c',
      text: 'with spaces',
      long: 'x'.repeat(64),
      'com.docker.compose.config-hash': 'f'.repeat(64),
      'com.docker.compose.service': 'web',
      'com.docker.compose.project': 'shop',
    };
    expect(identityOf(container(labels), nobody).labels).toEqual({
      'com.docker.compose.service': 'web',
      'com.docker.compose.project': 'shop',
    });
  });

  it('and its namespace give way to options of the endpoint', () => {
    const given = container({ app: 'web', own: 'yes', 'quantum.namespace': 'theirs' });
    expect(identityOf(given, { labels: { app: 'api' }, namespace: 'ours' })).toMatchObject({
      namespace: 'ours',
      labels: { app: 'api', own: 'yes' },
    });
    expect(identityOf(given, nobody)).toMatchObject({ namespace: 'theirs' });
  });

  it('of which there are too many, or a namespace that is none, are refused', () => {
    const many = Object.fromEntries(Array.from({ length: LABELS_MAX + 1 }, (_, n) => [`l${n}`, '']));
    expect(() => identityOf(container(many), nobody)).toThrow(`at most ${LABELS_MAX} labels`);
    expect(() => identityOf(container({ 'quantum.namespace': 'A B' }), nobody)).toThrow('quantum.namespace');
  });
});

describe('ports', () => {
  const ports = (...list: object[]) => publishedPorts({ 'com.docker.network.portmap': list });

  it('become those of the endpoint, each once', () => {
    const both = { Proto: 6, Port: 80, HostPort: 8080, HostPortEnd: 8080 };
    expect(
      ports(
        { ...both, HostIP: '0.0.0.0' },
        { ...both, HostIP: '::' },
        { Proto: 17, Port: 53, HostPort: 53, HostIP: '127.0.0.1' },
      ),
    ).toEqual([
      { container_port: 80, protocol: 'TCP', host_port: 8080 },
      { container_port: 53, protocol: 'UDP', host_port: 53, host_ip: '127.0.0.1' },
    ]);
    expect(publishedPorts({})).toEqual([]);
    expect(publishedPorts(undefined)).toEqual([]);
  });

  it.each([
    [{ Proto: 6, Port: 80 }, 'name the port of the node'],
    [{ Proto: 6, Port: 80, HostPort: 8000, HostPortEnd: 8010 }, 'name one port'],
    [{ Proto: 1, Port: 80, HostPort: 80 }, 'protocol 1 cannot be published'],
    [{ Proto: 6, Port: 0, HostPort: 80 }, 'Port'],
    [{ Proto: 6, Port: 80, HostPort: 65536 }, 'HostPort'],
    [{ Proto: 6, Port: 80, HostPort: 80, HostIP: 'x' }, 'HostIP'],
  ])('%j are refused', (binding, reason) => {
    expect(() => ports(binding)).toThrow(reason);
  });

  it('that are no list are refused', () => {
    expect(() => publishedPorts({ 'com.docker.network.portmap': 'all' })).toThrow('portmap');
  });
});
