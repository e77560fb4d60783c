// A bare network namespace with one process in it (probe.mjs) that connects and listens on command.

import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';

const FOLDER = '/run/netns';

export class Container {
  #probe;
  #calls = 0;
  #waiting = new Map();

  constructor(name) {
    this.name = name;
    this.path = `${FOLDER}/${name}`;
    mkdirSync(FOLDER, { recursive: true });
    writeFileSync(this.path, '');
    execFileSync('unshare', [`--net=${this.path}`, 'true']);
    const probe = new URL('probe.mjs', import.meta.url).pathname;
    this.#probe = spawn('nsenter', [`--net=${this.path}`, process.execPath, probe], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.#probe.on('message', ({ call, result }) => {
      this.#waiting.get(call)(result);
      this.#waiting.delete(call);
    });
  }

  /** Answers every TCP connection to the port with what it sends. */
  listen(port) {
    return this.#ask({ operation: 'listen', port });
  }

  /** 'connected', or the reason why not. */
  connect(address, port, timeoutMs) {
    return this.#ask({ operation: 'connect', address, port, timeoutMs });
  }

  /** Like connect, and the connection stays open for echo(). */
  open(address, port, timeoutMs) {
    return this.#ask({ operation: 'open', address, port, timeoutMs });
  }

  /** Sends a text over each open connection and waits until it has come back on all of them. */
  echo(text, timeoutMs) {
    return this.#ask({ operation: 'echo', text, timeoutMs });
  }

  /** Counts what comes to the port, for rate(); protocol: 'tcp' or 'udp'. */
  sink(protocol, port) {
    return this.#ask({ operation: 'sink', protocol, port });
  }

  /** Of the IP packets that come to all sinks: bits a second, over so many bytes after so many; 0: they have not come. */
  rate({ after, over, limitMs }) {
    return this.#ask({ operation: 'rate', after, over, limitMs });
  }

  /** Sends as much as it can, until calm(); datagrams of so many bytes, or as large as they can be. */
  flood(protocol, address, port, payload) {
    return this.#ask({ operation: 'flood', protocol, address, port, payload });
  }

  calm() {
    return this.#ask({ operation: 'calm' });
  }

  /** Sends so many datagrams by one socket; how many it took in that time. */
  spray(address, port, count, timeoutMs) {
    return this.#ask({ operation: 'spray', address, port, count, timeoutMs });
  }

  #ask(request) {
    const call = this.#calls++;
    return new Promise((resolve) => {
      this.#waiting.set(call, resolve);
      this.#probe.send({ call, ...request });
    });
  }
}
