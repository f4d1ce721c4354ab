/**
 * Run by test/dataplane/allocation.test.ts in a process of its own: takes half a million packets through the whole way and
 * prints how many bytes of JavaScript heap each one cost, as one line of JSON. The new space is so large that nothing
 * is collected in between, so what the heap grew by is what was allocated.
 */
import v8 from 'node:v8';
import { turn } from '../../src/dataplane/loop.js';
import { frameAt, SLOTS } from '../../src/dataplane/packet.js';
import type { Device } from '../../src/device/device.js';
import { COUNTER } from '../../src/table/counters.js';
import { TestDataplane } from './dataplane.js';
import { cutAll } from './fragments.js';
import { frame, icmpError, VNET_BYTES, view } from './packets.js';

const PACKETS = 1 << 19;

/** The same with the fragments of datagrams, in the order given, the identification of the datagram counted up. */
function endlessFragments(plane: TestDataplane, pieces: Uint8Array[]): Device {
  const { slab } = plane.cx;
  let id = 0;
  let next = 0;
  return {
    readBatch() {
      for (let slot = 0; slot < SLOTS / 2; slot++) {
        const piece = pieces[next];
        slab.bytes.set(piece, frameAt(slot));
        slab.halves[(frameAt(slot) + 14) >> 1] = id;
        slab.lengths[slot] = piece.length;
        if (++next === pieces.length) {
          next = 0;
          id = (id + 1) & 0xffff;
        }
      }
      return SLOTS / 2;
    },
    writeBatch: () => SLOTS,
    wait: () => 1,
  };
}

/** A device that never allocates: fills every slot with the same frame, its source port counted up within a range of `ports`, or left. */
function endless(plane: TestDataplane, bytes: Uint8Array, ports: number): Device {
  const { slab } = plane.cx;
  const ipHeader = bytes[10] >> 4 === 4 ? 20 : 40;
  let port = 0;
  return {
    readBatch() {
      for (let slot = 0; slot < SLOTS; slot++) {
        slab.bytes.set(bytes, frameAt(slot));
        if (ports > 0) {
          slab.halves[(frameAt(slot) + 10 + ipHeader) >> 1] = port;
          port = (port + 1) % ports;
        }
        slab.lengths[slot] = bytes.length;
      }
      return SLOTS;
    },
    writeBatch: () => SLOTS,
    wait: () => 1,
  };
}

function bytesPerPacket(plane: TestDataplane, device: Device): number {
  const take = (packets: number) => {
    for (let left = packets; left > 0; left -= SLOTS) turn(plane.cx, device, plane.nowMs);
  };
  for (let i = 0; i < 4; i++) take(PACKETS); // warm: compiled and optimised
  globalThis.gc!();
  const before = v8.getHeapStatistics().used_heap_size;
  take(PACKETS);
  return (v8.getHeapStatistics().used_heap_size - before) / PACKETS;
}

const services = {
  '10.96.0.10:53/udp': ['10.244.0.9:53', '10.244.1.9:53'],
  '10.96.0.11:80/tcp': ['10.244.0.8:80'],
};
const udp = frame({ from: '10.0.1.2:1', to: '10.96.0.10:53', protocol: 'udp', noChecksum: true });
const syn = frame({ from: '10.0.1.2:1', to: '10.96.0.11:80', flags: ['SYN'] });
const foreign = frame({ from: '10.0.1.2:1', to: '192.0.2.1:80', protocol: 'udp' });
const rejected = frame({ from: '10.0.1.2:1', to: '10.96.0.11:81', protocol: 'udp' });

const hits = new TestDataplane(services);
const services6 = { '[fd00:96::10]:53/udp': ['[fd00:244::9]:53'] };
const hits6 = new TestDataplane(services6);
const udp6 = frame({ from: '[fd00::2]:1', to: '[fd00:96::10]:53', protocol: 'udp' });
/** "Port unreachable" from an endpoint about what it was just sent. */
function errorFor(plane: TestDataplane, sent: Uint8Array): Uint8Array {
  const [out] = plane.send(sent);
  const { from, to } = view(out);
  const host = (end: string) => end.replace(/^\[|\]?:\d+$/g, '');
  const quoted = out.subarray(VNET_BYTES);
  const kind = out[VNET_BYTES] >> 4 === 4 ? { type: 3, code: 3 } : { type: 1, code: 4 };
  return icmpError({ from: host(to), to: host(from), ...kind, quoted });
}
const error = errorFor(hits, udp);
const error6 = errorFor(hits6, udp6);
const created = new TestDataplane(services, { flowCapacity: 1 << 16 });
// A clock so fast that every flow has expired when its tuple comes again: each packet removes one flow and makes one.
const device = endless(created, syn, 50_000);
const read = device.readBatch;
device.readBatch = () => {
  created.nowMs += 1000;
  created.cx.nowSec += 1;
  return read();
};

const pieces = cutAll(
  frame({ from: '10.0.1.2:1', to: '10.96.0.10:53', protocol: 'udp', payload: new Uint8Array(3000) }),
  1480,
);
const fragments = new TestDataplane(services);
const held = endlessFragments(fragments, [...pieces].reverse());
bytesPerPacket(fragments, held); // once more for what is compiled late
// Every packet is a new flow and pushes out another: the table is full from the first round on.
const full = new TestDataplane(services, { flowCapacity: 1 << 10 });

// From the node itself, to which every error is sent.
const answering = new TestDataplane(services, { local: ['10.0.1.2'], answerPing: true });
const ping = icmpError({ from: '10.0.1.2', to: '10.96.0.10', type: 8, code: 0, quoted: new Uint8Array(56) });

console.log(
  JSON.stringify({
    hits: bytesPerPacket(hits, endless(hits, udp, 500)),
    hits6: bytesPerPacket(hits6, endless(hits6, udp6, 500)),
    passed: bytesPerPacket(hits, endless(hits, foreign, 500)),
    fragments: bytesPerPacket(fragments, endlessFragments(fragments, pieces)) * 2,
    fragmentsHeld: bytesPerPacket(fragments, held) * 2,
    fragmentsLost: bytesPerPacket(fragments, endlessFragments(fragments, pieces.slice(1, 2))) * 2,
    fragmentCounts: fragments.counts,
    rejected: bytesPerPacket(answering, endless(answering, rejected, 500)),
    limited: bytesPerPacket(hits, endless(hits, rejected, 500)),
    echoed: bytesPerPacket(answering, endless(answering, ping, 0)),
    related: bytesPerPacket(hits, endless(hits, error, 0)),
    related6: bytesPerPacket(hits6, endless(hits6, error6, 0)),
    created: bytesPerPacket(created, device),
    full: bytesPerPacket(full, endless(full, syn, 50_000)),
    flowsEvicted: full.cx.counters[COUNTER.FLOWS_EVICTED],
    flowsCreated: created.counts['forwarded'],
  }),
);
