/** A small HTTP server for answers about health: it never keeps the process alive nor a client waiting. */
import { createServer, type RequestListener } from 'node:http';

export interface Listener {
  /** The port listened on: the one asked for, or, when that was 0, the one given. */
  readonly port: number;
  close(): Promise<void>;
}

/** Enough for a probe; a client that sends nothing is let go. */
const REQUEST_TIMEOUT_MS = 5000;
const CONNECTIONS_MAX = 256;

/** @throws Error (EADDRINUSE, EADDRNOTAVAIL, EACCES) when the address cannot be listened on */
export function listen(host: string, port: number, answer: RequestListener): Promise<Listener> {
  const server = createServer(
    {
      requestTimeout: REQUEST_TIMEOUT_MS,
      headersTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: REQUEST_TIMEOUT_MS,
    },
    answer,
  );
  server.maxConnections = CONNECTIONS_MAX;
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, () => {
      server.off('error', reject);
      server.on('error', () => {}); // a failed accept: the next one may work
      server.unref();
      const address = server.address();
      resolve({
        port: typeof address === 'object' && address !== null ? address.port : port,
        close: () =>
          new Promise((closed) => {
            server.close(() => closed());
            server.closeAllConnections();
          }),
      });
    });
  });
}
