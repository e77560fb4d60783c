// Runs inside a container's network namespace; see container.mjs for what it is asked.

import { createSocket } from 'node:dgram';
import { connect, createServer, isIPv6 } from 'node:net';
import { calm, flood, rate, sink } from './flood.mjs';

const DATAGRAM_BYTES = 1200;
const opened = [];

const operations = {
  sink,
  rate,
  flood,
  calm,

  async listen({ port }) {
    const server = createServer((socket) => socket.on('error', () => {}).pipe(socket));
    await new Promise((resolve, reject) => server.on('error', reject).listen(port, '::', resolve));
    return 'listening';
  },

  async connect(request) {
    const { outcome, socket } = await dial(request);
    socket.destroy();
    return outcome;
  },

  async open(request) {
    const { outcome, socket } = await dial(request);
    opened.push(socket);
    return outcome;
  },

  async echo({ text, timeoutMs }) {
    const answers = opened.map(
      (socket) =>
        new Promise((resolve) => {
          const limit = setTimeout(resolve, timeoutMs, 'timeout');
          socket.once('data', (data) => {
            clearTimeout(limit);
            resolve(data.toString());
          });
          socket.write(text);
        }),
    );
    return Promise.all(answers);
  },

  async spray({ address, port, count, timeoutMs }) {
    const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4');
    const datagram = Buffer.alloc(DATAGRAM_BYTES);
    let taken = 0;
    await new Promise((resolve) => {
      const limit = setTimeout(resolve, timeoutMs);
      for (let sent = 0; sent < count; sent++) {
        socket.send(datagram, port, address, (error) => {
          if (error === null) taken++;
          if (taken < count) return;
          clearTimeout(limit);
          resolve();
        });
      }
    });
    socket.close();
    return taken;
  },
};

function dial({ address, port, timeoutMs }) {
  const socket = connect({ host: address, port });
  return new Promise((resolve) => {
    const limit = setTimeout(() => resolve({ outcome: 'timeout', socket }), timeoutMs);
    const end = (outcome) => {
      clearTimeout(limit);
      resolve({ outcome, socket });
    };
    socket.once('connect', () => end('connected'));
    socket.on('error', (error) => end(error.code));
  });
}

process.on('message', async ({ call, ...request }) => {
  const result = await operations[request.operation](request).catch((error) => error.message);
  process.send({ call, result });
});
