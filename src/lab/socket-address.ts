// ADDRESS:PORT as the lab's programs take and print it; IPv6 addresses stand in brackets.

export interface SocketAddress {
  readonly host: string;
  readonly port: number;
}

/** Splits `10.0.0.1:80` or `[fd00::1]:80`. Throws a RangeError on anything else. */
export function splitAddress(text: string): SocketAddress {
  const found = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  const host = found?.[1] ?? found?.[2];
  const port = Number(found?.[3]);
  if (host === undefined || port > 65535) throw new RangeError(`not ADDRESS:PORT: ${text}`);
  return { host, port };
}

/** The reverse of {@link splitAddress}; `?` for what a closed socket no longer knows. */
export function addressOf(host: string | undefined, port: number | undefined): string {
  const shown = host ?? '?';
  return `${shown.includes(':') ? `[${shown}]` : shown}:${port ?? '?'}`;
}
