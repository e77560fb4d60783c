import { describe, expect, it } from 'vitest';
import { attachRequest, POD_NAME_LABEL } from '../../src/cni/request.js';
import { parseCniConfiguration } from '../../src/model/cni.js';

function requestOf(fields: object = {}, CNI_ARGS = '') {
  const stdin = JSON.stringify({ cniVersion: '1.0.0', name: 'web', type: 'quantum-cni', ...fields });
  const env = {
    CNI_COMMAND: 'ADD',
    CNI_CONTAINERID: 'c1',
    CNI_IFNAME: 'eth0',
    CNI_NETNS: '/run/netns/c1',
    CNI_ARGS,
  };
  return attachRequest({ env, stdin }, parseCniConfiguration(stdin));
}

describe('what container runtimes send becomes an endpoint', () => {
  it('nothing but what is required: namespace default, no labels', () => {
    expect(requestOf()).toEqual({
      network: 'web',
      container_id: 'c1',
      interface_name: 'eth0',
      netns_path: '/run/netns/c1',
      namespace: 'default',
      labels: {},
      ports: [],
      routes: [],
      spans: [],
    });
  });

  it.each([
    [
      'containerd and CRI-O',
      'IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=0123;K8S_POD_UID=4567',
      { namespace: 'shop', labels: { [POD_NAME_LABEL]: 'web-0' } },
    ],
    [
      'Podman, with a name that only containers can have',
      'IgnoreUnknown=1;K8S_POD_NAME=hopeful_Curie;MAC=02:00:00:00:00:0A;IP=198.18.0.7',
      {
        namespace: 'default',
        labels: { [POD_NAME_LABEL]: 'hopeful_Curie' },
        mac_address: '02:00:00:00:00:0a',
        ip_address: '198.18.0.7',
      },
    ],
    [
      'Nomad and nerdctl, with keys of their own',
      'IgnoreUnknown=true;NOMAD_REGION=global;NERDCTL_CNI_DHCP_HOSTNAME=x',
      { namespace: 'default', labels: {} },
    ],
    [
      'a person',
      'QUANTUM_NAMESPACE=prod;K8S_POD_NAMESPACE=shop;QUANTUM_LABELS=app=web,tier=',
      { namespace: 'prod', labels: { app: 'web', tier: '' } },
    ],
  ])('CNI_ARGS of %s', (_who, args, expected) => {
    expect(requestOf({}, args)).toMatchObject(expected);
  });

  it('a pod whose name is longer than the value of a label goes without that label', () => {
    expect(requestOf({}, `K8S_POD_NAME=${'x'.repeat(64)}`).labels).toEqual({});
  });

  it('the annotation of a pod gives labels; what was said of this container alone comes before', () => {
    const annotations = { 'quantum.network/labels': 'app=web,tier=front', other: '{"a": 1}' };
    const runtimeConfig = { 'io.kubernetes.cri.pod-annotations': annotations };
    expect(requestOf({ runtimeConfig }).labels).toEqual({ app: 'web', tier: 'front' });
    expect(requestOf({ runtimeConfig }, 'QUANTUM_LABELS=app=db').labels).toEqual({
      app: 'db',
      tier: 'front',
    });
    for (const text of ['app', 'a b=c', `app=${'x'.repeat(64)}`]) {
      const bad = { 'io.kubernetes.cri.pod-annotations': { 'quantum.network/labels': text } };
      expect(() => requestOf({ runtimeConfig: bad })).toThrow('quantum.network/labels');
    }
  });

  it('the conventions decide which address counts: capability, args, CNI_ARGS', () => {
    const args = { cni: { ips: ['198.18.0.6/24', 'fd00::6'] } };
    expect(requestOf({}, 'IP=198.18.0.5').ip_address).toBe('198.18.0.5');
    expect(requestOf({ args }, 'IP=198.18.0.5')).toMatchObject({
      ip_address: '198.18.0.6',
      ip6_address: 'fd00::6',
    });
    const runtimeConfig = { ips: ['198.18.0.7/16'], mac: '02:00:00:00:00:07' };
    const request = requestOf({ args, runtimeConfig }, 'IP=198.18.0.5;MAC=02:00:00:00:00:05');
    expect(request).toMatchObject({ ip_address: '198.18.0.7', mac_address: '02:00:00:00:00:07' });
    expect(request.ip6_address).toBeUndefined();
  });

  it('port mappings of the runtime become published ports', () => {
    const runtimeConfig = {
      portMappings: [
        { hostPort: 8080, containerPort: 80, protocol: 'tcp' },
        { hostPort: 5353, containerPort: 53, protocol: 'UDP', hostIP: '127.0.0.1' },
        { hostPort: 0, containerPort: 9090, protocol: 'tcp', hostIP: '' },
      ],
    };
    expect(requestOf({ runtimeConfig }).ports).toEqual([
      { container_port: 80, protocol: 'TCP', host_port: 8080 },
      { container_port: 53, protocol: 'UDP', host_port: 5353, host_ip: '127.0.0.1' },
    ]);
  });

  it('fields of the structs of Go are known by any capitals, as containerd writes them', () => {
    const runtimeConfig = {
      portMappings: [
        { HostPort: 8080, ContainerPort: 80, Protocol: 'tcp', HostIP: '127.0.0.1' },
        { HOSTPORT: 5353, containerport: 53, protocol: '', hostip: '' },
      ],
      dns: { Servers: ['198.18.0.1'], Searches: null },
      bandwidth: { IngressRate: 0, IngressBurst: 0, EgressRate: 0, EgressBurst: 0 },
      ipRanges: [
        [{ Subnet: '198.18.0.0/24', RangeStart: '198.18.0.8', RangeEnd: '', Gateway: '198.18.0.1' }],
      ],
    };
    const { ports, spans, options } = requestOf({ runtimeConfig });
    expect(options).toBeUndefined();
    expect(ports).toEqual([
      { container_port: 80, protocol: 'TCP', host_port: 8080, host_ip: '127.0.0.1' },
      { container_port: 53, protocol: 'TCP', host_port: 5353 },
    ]);
    expect(spans).toEqual([{ family: 4, first: '198.18.0.8', last: '198.18.0.255', gateway: '198.18.0.1' }]);
  });

  it('bandwidth becomes limits of the endpoint; a burst that a CRI runtime made up is none', () => {
    const limits = (bandwidth: object) => requestOf({ runtimeConfig: { bandwidth } }).options;
    for (const burst of [2 ** 31 - 1, 2 ** 32 - 1, 8 * (2 ** 32 - 1), 8 * (2 ** 32 - 1) - 1]) {
      expect(limits({ IngressRate: 1_000_000, IngressBurst: burst, egressRate: 0 })).toEqual({
        bandwidth: { ingress_rate: 1_000_000 },
      });
    }
    expect(limits({ egressRate: 8_000, egressBurst: 1, ingressRate: null })).toEqual({
      bandwidth: { egress_rate: 8_000, egress_burst: 1 },
    });
    expect(limits({})).toBeUndefined();
  });

  it('what Go writes for nothing is nothing', () => {
    const runtimeConfig = {
      ips: null,
      mac: '',
      portMappings: null,
      dns: { servers: null },
      bandwidth: null,
      ipRanges: null,
    };
    expect(requestOf({ runtimeConfig })).toMatchObject({ labels: {}, ports: [] });
  });
});
