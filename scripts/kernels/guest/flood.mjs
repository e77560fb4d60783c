// Sending as much as one can, and counting how fast it comes.

import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';

/** Of an IPv4 packet of 1500 bytes: what is not its payload. TCP with time stamps. */
const MTU = 1500;
const HEADERS = { tcp: 52, udp: 28 };
const ETHERNET_HEADER = 14;
/** At once, before one looks whether they have gone. */
const DATAGRAMS = 8;
const WRITE_BYTES = 64 * 1024;

/** Told of each piece that comes: bytes of IP packets. */
let onBytes = () => {};
let stop = () => {};

/** As a limit counts them, which is by frames: as if all were of full packets. */
function packetBytes(protocol, payload) {
  if (protocol === 'tcp') return (payload * MTU) / (MTU - HEADERS.tcp);
  return ((payload + HEADERS.udp + ETHERNET_HEADER) * MTU) / (MTU + ETHERNET_HEADER);
}

export async function sink({ protocol, port }) {
  const count = (data) => onBytes(packetBytes(protocol, data.length));
  if (protocol === 'udp') {
    const socket = createSocket('udp4').on('message', count);
    socket.bind(port);
    await once(socket, 'listening');
  } else {
    const server = createServer((socket) => socket.on('error', () => {}).on('data', count));
    await once(server.listen(port), 'listening');
  }
  return 'counting';
}

/** From one piece to another, since several may come at once. 0: not so many have come in that time. */
export function rate({ after, over, limitMs }) {
  let passed = 0;
  let first;
  return new Promise((resolve) => {
    const limit = setTimeout(resolve, limitMs, 0);
    onBytes = (bytes) => {
      passed += bytes;
      if (passed < after) return;
      const now = process.hrtime.bigint();
      first ??= { now, passed };
      const counted = passed - first.passed;
      if (counted < over) return;
      onBytes = () => {};
      clearTimeout(limit);
      resolve((counted * 8e9) / Number(now - first.now));
    };
  });
}

export async function flood({ protocol, address, port, payload }) {
  const socket =
    protocol === 'udp' ? createSocket('udp4') : connect({ host: address, port }).on('error', () => {});
  if (protocol === 'tcp') await once(socket, 'connect');
  let isOver = false;
  const sending = protocol === 'udp' ? datagrams : bytes;
  const ended = sending(socket, { address, port, payload, isOver: () => isOver });
  stop = async () => {
    isOver = true;
    if (protocol === 'tcp') socket.destroy();
    await ended;
    if (protocol === 'udp') socket.close();
  };
  return 'sending';
}

export async function calm() {
  await stop();
  return 'calm';
}

async function datagrams(socket, { address, port, payload = MTU - HEADERS.udp, isOver }) {
  const data = Buffer.alloc(payload);
  const send = () => new Promise((resolve) => socket.send(data, port, address, resolve));
  while (!isOver()) {
    await Promise.all(Array.from({ length: DATAGRAMS }, send));
    await turn(); // What is sent at once lets nothing else come in between.
  }
}

async function bytes(socket, { isOver }) {
  const data = Buffer.alloc(WRITE_BYTES);
  const written = () => new Promise((resolve) => socket.write(data, resolve));
  while (!isOver()) await written();
}
