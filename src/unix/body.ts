import type { IncomingMessage } from 'node:http';

/**
 * The body as text, or undefined when it has more bytes than `most`. Of a larger one up to `readable` bytes are read and
 * dropped, or the caller would see a broken connection instead of the answer.
 */
export function readBody(
  request: IncomingMessage,
  most: number,
  readable: number,
): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= most) chunks.push(chunk);
      else if (bytes > readable) request.destroy();
    });
    request.on('end', () => resolve(bytes > most ? undefined : Buffer.concat(chunks).toString('utf8')));
    request.on('error', reject);
    request.on('close', () => reject(new Error('the connection was closed within the body')));
  });
}
