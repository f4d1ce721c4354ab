/** Opens the queues of the TUN device, one a worker, and switches its offloads on. */
import { closeDescriptor, errnoName, OFFLOAD, openQueue, setOffload } from '../../native-bindings/index.js';
import { EXIT, Failure } from '../shared/failure.js';

export interface TunQueues {
  /** One file descriptor a worker. */
  readonly descriptors: readonly number[];
  /** What the kernel hands over unfinished: "csum,tso4,tso6,uso4,uso6". */
  readonly offloads: string;
}

const BASE = OFFLOAD.CSUM | OFFLOAD.TSO4 | OFFLOAD.TSO6 | OFFLOAD.TSO_ECN;
const USO = OFFLOAD.USO4 | OFFLOAD.USO6;

/** @param offload false: nothing unfinished @throws Failure when a queue cannot be opened */
export function openTunQueues(tun: string, count: number, offload: boolean): TunQueues {
  const descriptors: number[] = [];
  for (let i = 0; i < count; i++) {
    const descriptor = openQueue(tun);
    if (descriptor < 0) {
      closeTunQueues(descriptors);
      throw new Failure(EXIT.HOST, `cannot open queue ${i} of ${tun}: ${errnoName(descriptor)}`);
    }
    descriptors.push(descriptor);
  }
  const [first = -1] = descriptors;
  return { descriptors, offloads: offload ? switchOffloadsOn(first) : switchOffloadsOff(first) };
}

export function closeTunQueues(descriptors: readonly number[]): void {
  for (const descriptor of descriptors) closeDescriptor(descriptor);
}

/** A device of an earlier run may have them on. */
function switchOffloadsOff(descriptor: number): string {
  setOffload(descriptor, 0);
  return 'none';
}

/** UDP segmentation came with kernel 6.2; an older one refuses the whole call. */
function switchOffloadsOn(descriptor: number): string {
  if (setOffload(descriptor, BASE | USO) === 0) return 'csum,tso4,tso6,uso4,uso6';
  return setOffload(descriptor, BASE) === 0 ? 'csum,tso4,tso6' : 'none';
}
