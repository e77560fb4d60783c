/** Connections of the node, for readers: who is at their ends, and which ones are meant. */
import { type ConntrackEntry, ConntrackFlags } from '../../datapath/abi/generated.js';
import type { ConnectionTable } from '../../datapath/connection-table.js';
import { formatRuleRef } from '../../firewall/rule-ref.js';
import {
  type Address,
  addressBits,
  type Cidr,
  cidrContains,
  cidrOf,
  formatAddress,
  fromBytes16,
  parseAddress,
  parseCidr,
} from '../../model/address.js';
import type {
  Connection,
  ConnectionEnd,
  ConnectionFilter,
  ConnectionList,
  ConnectionProtocol,
  ConnectionQuery,
  ConnectionState,
} from '../../model/connection.js';
import { monotonicNs } from '../../native/bpf.js';
import type { Reader } from '../../store/store.js';
import { endpoints } from '../../store/tables.js';
import type { ConnectionService } from '../contract.js';
import { ruleOf } from '../policy/rule-numbers.js';

const PROTOCOLS: Readonly<Record<number, ConnectionProtocol>> = {
  1: 'ICMP',
  6: 'TCP',
  17: 'UDP',
  58: 'ICMPv6',
  132: 'SCTP',
};

const NS_PER_SECOND = 1_000_000_000n;
const CLOSED = ConntrackFlags.FIN_OPENER | ConntrackFlags.FIN_RESPONDER;

export class Connections implements ConnectionService {
  constructor(
    private readonly reader: Reader,
    private readonly table: ConnectionTable,
  ) {}

  async list({ limit, ...filter }: ConnectionQuery): Promise<ConnectionList> {
    const fits = this.filterOf(filter);
    const connections: Connection[] = [];
    const now = monotonicNs();
    for await (const piece of this.table.pieces()) {
      for (const record of piece) {
        if (record.nonce === 0 || record.expiresNs <= now || !fits(record)) continue;
        if (connections.length === limit) return { connections, truncated: true };
        connections.push(this.described(record, now));
      }
    }
    return { connections, truncated: false };
  }

  flush(filter: ConnectionFilter): Promise<number> {
    return this.table.flush(this.filterOf(filter));
  }

  private filterOf(filter: ConnectionFilter): (record: ConntrackEntry) => boolean {
    const { container_id, network } = filter;
    if (container_id === undefined && network === undefined) return (record) => fitsRecord(record, filter);
    const wanted = new Set(
      this.reader
        .list(endpoints)
        .filter((endpoint) => container_id === undefined || endpoint.container_id === container_id)
        .filter((endpoint) => network === undefined || endpoint.network === network)
        .map(({ id }) => id),
    );
    return (record) => record.endpointId.some((id) => wanted.has(id)) && fitsRecord(record, filter);
  }

  private described(record: ConntrackEntry, now: bigint): Connection {
    const { key, endpointId, rule, expiresNs } = record;
    const ends = [
      { address: key.addressA, port: key.portA },
      { address: key.addressB, port: key.portB },
    ] as const;
    const isFromB = (record.flags & ConntrackFlags.OPENER_IS_B) !== 0;
    const [opener, responder] = isFromB ? [ends[1], ends[0]] : ends;
    const protocol = protocolOf(record);
    const isEcho = protocol === 'ICMP' || protocol === 'ICMPv6';
    const end = (of: typeof opener, id: number): ConnectionEnd => ({
      ip: addressText(of.address),
      ...(isEcho ? {} : { port: of.port }),
      ...this.container(id),
    });
    const translated = fromBytes16(record.natAddress);
    const isResponder = (record.flags & ConntrackFlags.NAMED_RESPONDER) !== 0;
    return {
      protocol,
      source: end(opener, endpointId[0]),
      destination: end(responder, endpointId[1]),
      ...(isEcho ? { icmp_id: opener.port } : {}),
      ...(translated === undefined
        ? {}
        : {
            translated: {
              end: isResponder ? 'destination' : 'source',
              ip: formatAddress(translated),
              port: record.natPort,
            },
          }),
      state: stateOf(record),
      expires_in_seconds: Number((expiresNs - now) / NS_PER_SECOND),
      ...this.ruleText('egress_rule', rule[0]),
      ...this.ruleText('ingress_rule', rule[1]),
    };
  }

  private container(id: number): Partial<ConnectionEnd> {
    const endpoint = id === 0 ? undefined : this.reader.get(endpoints, [id]);
    if (endpoint === undefined) return {};
    const { container_id, network, interface_name } = endpoint;
    return { container_id, network, interface_name };
  }

  private ruleText(field: 'egress_rule' | 'ingress_rule', number: number): Partial<Connection> {
    const ref = number === 0 ? undefined : ruleOf(this.reader, number);
    return ref === undefined ? {} : { [field]: formatRuleRef(ref) };
  }
}

/** Whether the record is one that the filter means; container and network aside. */
export function fitsRecord(record: ConntrackEntry, filter: ConnectionFilter): boolean {
  const { protocol, address, port, state, translated } = filter;
  const { key, natAddress, natPort } = record;
  const isTranslated = natAddress.some((byte) => byte !== 0);
  return (
    (protocol === undefined || protocolOf(record) === protocol) &&
    (port === undefined || key.portA === port || key.portB === port || (isTranslated && natPort === port)) &&
    (state === undefined || stateOf(record) === state) &&
    (translated === undefined || isTranslated === translated) &&
    (address === undefined || isAt(rangeOf(address), [key.addressA, key.addressB, natAddress]))
  );
}

export function stateOf({ key, flags }: Pick<ConntrackEntry, 'key' | 'flags'>): ConnectionState {
  const has = (flag: number) => (flags & flag) !== 0;
  if (PROTOCOLS[key.protocol] !== 'TCP') return has(ConntrackFlags.REPLIED) ? 'answered' : 'unanswered';
  if (has(ConntrackFlags.RESET) || (flags & CLOSED) === CLOSED) return 'closed';
  if (has(CLOSED)) return 'closing';
  return has(ConntrackFlags.ESTABLISHED) ? 'established' : 'opening';
}

function protocolOf({ key }: ConntrackEntry): ConnectionProtocol {
  const name = PROTOCOLS[key.protocol];
  if (name === undefined) throw new Error(`a connection of protocol ${key.protocol}`);
  return name;
}

function rangeOf(text: string): Cidr {
  if (text.includes('/')) return parseCidr(text);
  const address = parseAddress(text);
  return cidrOf(address, addressBits(address.family));
}

function isAt(range: Cidr, addresses: readonly Uint8Array[]): boolean {
  return addresses.some((bytes) => {
    const address: Address | undefined = fromBytes16(bytes);
    return address !== undefined && cidrContains(range, address);
  });
}

function addressText(bytes: Uint8Array): string {
  const address = fromBytes16(bytes);
  return address === undefined ? '::' : formatAddress(address);
}
