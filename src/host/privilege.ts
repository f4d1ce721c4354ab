/** Whether this process may do what `up` does. */
import { accessSync, constants, readFileSync } from 'node:fs';
import { EXIT, Failure } from '../shared/failure.js';

const TUN_NODE = '/dev/net/tun';
const CAP_NET_ADMIN = 1n << 12n; // linux/capability.h

/** @throws Failure with exit code 3 that says what is missing and what to do about it */
export function requireNetAdmin(): void {
  try {
    accessSync(TUN_NODE, constants.R_OK | constants.W_OK);
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    throw new Failure(
      EXIT.PRIVILEGE,
      missing
        ? `${TUN_NODE} is not there; load the kernel's tun module (modprobe tun), or give the container the device`
        : `${TUN_NODE} cannot be opened; run as root, or allow this user to open it`,
    );
  }
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
  if ((BigInt(`0x${effective}`) & CAP_NET_ADMIN) === 0n) {
    throw new Failure(
      EXIT.PRIVILEGE,
      'making a TUN device and routes takes CAP_NET_ADMIN; run as root (sudo), or try `flowpin demo`',
    );
  }
}
