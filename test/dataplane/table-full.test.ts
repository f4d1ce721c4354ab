/** What a full flow table does to flows that are there and to new ones, and how the reaper keeps up. */
import t from 'tap';
import { ENTRY, STATUS } from '../../src/conntrack/entry.js';
import { turn } from '../../src/dataplane/loop.js';
import { frameAt, SLOTS } from '../../src/dataplane/packet.js';
import type { Device } from '../../src/device/device.js';
import { COUNTER } from '../../src/table/counters.js';
import { TestDataplane } from '../support/dataplane.js';
import { frame, type PacketView } from '../support/packets.js';

t.setTimeout(120_000);

const VIP = '10.96.0.10:80';
const ENDPOINTS = ['10.244.0.8:80', '10.244.0.9:80', '10.244.0.10:80'];
const SERVICE = { [`${VIP}/tcp`]: ENDPOINTS, [`${VIP}/udp`]: ENDPOINTS };

const evicted = (plane: TestDataplane): number => plane.cx.counters[COUNTER.FLOWS_EVICTED];

/** @returns the client's SYN as the endpoint got it */
function establish(plane: TestDataplane, client: string): PacketView {
  const syn = plane.forward({ from: client, to: VIP, flags: ['SYN'] });
  plane.forward({ from: syn.to, to: syn.from, flags: ['SYN', 'ACK'] });
  plane.forward({ from: client, to: VIP, flags: ['ACK'] });
  return syn;
}

/** SYNs from ever new sources, written over the addresses of one frame. */
function flood(plane: TestDataplane, syns: number): void {
  const { slab } = plane.cx;
  const syn = frame({ from: '192.0.2.1:4000', to: VIP, flags: ['SYN'], noChecksum: true });
  let source = 0x0b000000; // 11.0.0.0
  const device: Device = {
    readBatch() {
      for (let slot = 0; slot < SLOTS; slot++) {
        const at = frameAt(slot);
        slab.bytes.set(syn, at);
        slab.lengths[slot] = syn.length;
        source++;
        for (let i = 0; i < 4; i++) slab.bytes[at + 10 + 12 + i] = source >>> (24 - 8 * i);
      }
      return SLOTS;
    },
    writeBatch: (count) => count,
    wait: () => 1,
  };
  for (let left = syns; left > 0; left -= SLOTS) {
    plane.nowMs += 0.1;
    turn(plane.cx, device, plane.nowMs);
  }
}

t.test('a SYN flood of 1,000,000 spoofed sources leaves established connections untouched', async (t) => {
  const plane = new TestDataplane(SERVICE, { flowCapacity: 1 << 14 });
  const clients = Array.from({ length: 1000 }, (_, i) => `10.0.${i >> 8}.${i & 255}:5000`);
  const established = new Map(clients.map((client) => [client, establish(plane, client)]));
  const begin = performance.now();
  flood(plane, 1_000_000);
  t.comment(`${((performance.now() - begin) * 1000) / 1_000_000} us a SYN`);
  t.equal(plane.flowCount, 1 << 14, 'the table is full');
  t.equal(plane.counts['flow-table-full'], undefined, 'and nothing was dropped');
  t.ok(evicted(plane) > 980_000);
  let lost = 0;
  for (const [client, syn] of established) {
    const there = plane.forward({ from: client, to: VIP, flags: ['PSH', 'ACK'] });
    const back = plane.forward({ from: syn.to, to: syn.from, flags: ['PSH', 'ACK'] });
    if (there.to !== syn.to || there.from !== syn.from || back.to !== client || back.from !== VIP) lost++;
  }
  t.equal(lost, 0, 'the same endpoint and port there, the same address back');
  const during = establish(plane, '10.9.9.9:1');
  t.ok(ENDPOINTS.includes(during.to), 'and a new connection is made in the middle of it');
});

t.test('connections that were made stay; those half open, and questions without an answer, go', async (t) => {
  const plane = new TestDataplane(SERVICE, { flowCapacity: 8 });
  for (let port = 1; port <= 4; port++) establish(plane, `10.0.1.2:${port}`);
  const half = plane.forward({ from: '10.0.1.2:5', to: VIP, flags: ['SYN'] });
  plane.forward({ from: half.to, to: half.from, flags: ['SYN', 'ACK'] });
  plane.forward({ from: '10.0.1.2:6', to: VIP, protocol: 'udp' });
  const asked = plane.forward({ from: '10.0.1.2:7', to: VIP, protocol: 'udp' });
  plane.forward({ from: asked.to, to: asked.from, protocol: 'udp' });
  const streaming = plane.forward({ from: '10.0.1.2:8', to: VIP, protocol: 'udp' });
  plane.nowMs += 4000;
  plane.forward({ from: streaming.to, to: streaming.from, protocol: 'udp' });
  t.equal(plane.flowCount, 8);
  for (let port = 11; port <= 13; port++) establish(plane, `10.0.1.2:${port}`);
  t.equal(evicted(plane), 3);
  t.equal(plane.packet({ from: '10.0.1.2:14', to: VIP, flags: ['SYN'] })?.icmp?.code, 13);
  t.equal(plane.counts['flow-table-full'], 1, 'all that is left is ASSURED');
  const back = plane.forward({ from: streaming.to, to: streaming.from, protocol: 'udp' });
  t.equal(back.to, '10.0.1.2:8', 'the stream is');
});

t.test('an ASSURED flow that has expired makes room too', async (t) => {
  const plane = new TestDataplane(SERVICE, { flowCapacity: 4 });
  for (let port = 1; port <= 4; port++) establish(plane, `10.0.1.2:${port}`);
  const { entries, entryWords } = plane.cx.flows[0];
  entries[2 * entryWords + ENTRY.EXPIRES] = plane.cx.nowSec;
  t.ok(plane.packet({ from: '10.0.1.2:5', to: VIP, flags: ['SYN'] }));
  t.equal(evicted(plane), 1);
});

t.test('the search is bounded: 4096 entries a batch, going on where it ended', async (t) => {
  const capacity = 1 << 14;
  const plane = new TestDataplane(SERVICE, { flowCapacity: capacity });
  flood(plane, capacity);
  const { entries, entryWords } = plane.cx.flows[0];
  for (let i = 0; i < capacity; i++) entries[i * entryWords] |= STATUS.ASSURED;
  entries[(capacity - 1) * entryWords] &= ~STATUS.ASSURED;
  let refused = 0;
  while (plane.packet({ from: `10.0.1.2:${1 + refused}`, to: VIP, flags: ['SYN'] })?.icmp) refused++;
  t.ok(refused > 0 && refused < capacity / 4096, `${refused} were dropped before the one entry was found`);
  t.equal(evicted(plane), 1);
});

t.test('the reaper hurries while much of what it looks at has expired, and slows down again', async (t) => {
  const capacity = 1 << 14;
  const plane = new TestDataplane(SERVICE, { flowCapacity: capacity });
  flood(plane, capacity);
  t.equal(plane.flowCount, capacity);
  plane.nowMs += 121_000;
  plane.cx.reapedMs = plane.nowMs;
  let ms = 0;
  while (plane.flowCount > 0 && ms < 20_000) {
    plane.nowMs += 1;
    plane.send();
    ms++;
  }
  t.ok(ms < 1000, `${ms} ms instead of 10 s`);
  t.equal(plane.cx.counters[COUNTER.FLOWS_REAPED], capacity);
  const fast = plane.cx.reapPace[0];
  t.ok(fast > 1);
  establish(plane, '10.0.1.2:1');
  for (let i = 0; i < 10; i++) {
    plane.nowMs += 1;
    plane.send();
  }
  t.equal(plane.cx.reapPace[0], 1);
});
