/** Under which addresses networks leave that do not leave under the uplink's. */
import { parseAddress, toBytes16 } from '../model/address.js';
import { SourceAddresses as Value } from './abi/generated.js';
import type { TypedMap } from './typed-map.js';

const NO_ADDRESS = new Uint8Array(16);

export interface NetworkSource {
  networkId: number;
  ip4: string | undefined;
  ip6: string | undefined;
}

export class SourceAddresses {
  constructor(private readonly map: TypedMap<number, Value>) {}

  /** A network's are the same for as long as it is there. */
  put(source: NetworkSource): void {
    this.map.set(source.networkId, encode(source));
  }

  remove(networkId: number): void {
    this.map.delete(networkId);
  }

  /** Makes the kernel have exactly these. */
  async sync(sources: readonly NetworkSource[]): Promise<void> {
    const wanted = new Map(sources.map((source) => [source.networkId, encode(source)]));
    for (const [networkId, found] of await this.map.entries()) {
      const value = wanted.get(networkId);
      if (value === undefined) this.map.delete(networkId);
      else if (Buffer.compare(Value.encode(value), Value.encode(found)) === 0) wanted.delete(networkId);
    }
    for (const [networkId, value] of wanted) this.map.set(networkId, value);
  }
}

function encode({ networkId, ip4, ip6 }: NetworkSource): Value {
  const bytes = (address: string | undefined) =>
    address === undefined ? NO_ADDRESS : toBytes16(parseAddress(address));
  return { networkId, ip4: bytes(ip4), ip6: bytes(ip6) };
}
