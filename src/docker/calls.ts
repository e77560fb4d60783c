/** The calls of Docker's plugin protocol, by their paths: what each takes, and who carries it out. */
import type { z } from 'zod';
import type { IpamDriver } from './ipam-driver.js';
import type { NetworkDriver } from './network-driver.js';
import * as protocol from './protocol.js';

export interface Call {
  /** Undefined: the body is not read. */
  readonly schema: z.ZodType | undefined;
  run(body: unknown): object | Promise<object>;
}

function call<Schema extends z.ZodType>(
  schema: Schema,
  run: (body: z.output<Schema>) => object | Promise<object> | Promise<void>,
): Call {
  return {
    schema,
    run: async (body) => {
      const answer = await run(body as z.output<Schema>);
      return answer === undefined ? {} : answer;
    },
  };
}

function fixed(answer: object): Call {
  return { schema: undefined, run: () => answer };
}

export function callsOf(network: NetworkDriver, ipam: IpamDriver): ReadonlyMap<string, Call> {
  return new Map(
    Object.entries({
      '/Plugin.Activate': fixed({ Implements: ['NetworkDriver', 'IpamDriver'] }),

      '/NetworkDriver.GetCapabilities': fixed(network.capabilities()),
      '/NetworkDriver.CreateNetwork': call(protocol.createNetwork, (body) => network.createNetwork(body)),
      '/NetworkDriver.DeleteNetwork': call(protocol.networkReference, (body) => network.deleteNetwork(body)),
      '/NetworkDriver.CreateEndpoint': call(protocol.createEndpoint, (body) => network.createEndpoint(body)),
      '/NetworkDriver.DeleteEndpoint': call(protocol.endpointReference, (body) =>
        network.deleteEndpoint(body),
      ),
      '/NetworkDriver.EndpointOperInfo': call(protocol.endpointReference, (body) =>
        network.endpointInfo(body),
      ),
      '/NetworkDriver.Join': call(protocol.join, (body) => network.join(body)),
      '/NetworkDriver.Leave': call(protocol.endpointReference, (body) => network.leave(body)),
      '/NetworkDriver.ProgramExternalConnectivity': call(protocol.programConnectivity, (body) =>
        network.programConnectivity(body),
      ),
      // Ports go with their endpoint, and who a node is changes nothing here.
      '/NetworkDriver.RevokeExternalConnectivity': fixed({}),
      '/NetworkDriver.DiscoverNew': fixed({}),
      '/NetworkDriver.DiscoverDelete': fixed({}),

      '/IpamDriver.GetCapabilities': fixed(ipam.capabilities()),
      '/IpamDriver.GetDefaultAddressSpaces': fixed(ipam.addressSpaces()),
      '/IpamDriver.RequestPool': call(protocol.requestPool, (body) => ipam.requestPool(body)),
      // Pools are ranges: nothing is kept of them.
      '/IpamDriver.ReleasePool': fixed({}),
      '/IpamDriver.RequestAddress': call(protocol.requestAddress, (body) => ipam.requestAddress(body)),
      '/IpamDriver.ReleaseAddress': call(protocol.releaseAddress, (body) => ipam.releaseAddress(body)),
    }),
  );
}
