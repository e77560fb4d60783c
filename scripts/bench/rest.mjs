/** A client of the daemon's socket, on one connection that stays open. */
import { Agent, request } from 'node:http';

export class Rest {
  #agent = new Agent({ keepAlive: true, maxSockets: 1 });

  constructor(socketPath) {
    this.socketPath = socketPath;
  }

  /** The answer's object. Throws when the status is not a success. */
  call(method, path, body) {
    return new Promise((resolve, reject) => {
      const text = body === undefined ? undefined : JSON.stringify(body);
      const headers =
        text === undefined
          ? {}
          : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
      const { socketPath } = this;
      const outgoing = request(
        { socketPath, agent: this.#agent, method, path, headers },
        async (response) => {
          let answer = '';
          for await (const chunk of response.setEncoding('utf8')) answer += chunk;
          if (response.statusCode >= 400) reject(new Error(`${method} ${path}: ${answer}`));
          else resolve(answer === '' ? undefined : JSON.parse(answer));
        },
      );
      outgoing.on('error', reject);
      outgoing.end(text);
    });
  }

  close() {
    this.#agent.destroy();
  }
}
