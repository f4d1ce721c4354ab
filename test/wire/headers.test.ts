/** Each header: constructed over dirty bytes, then deconstructed; and lengths that lie. */
import t from 'tap';
import { NATIVE_VNET_HDR } from '../../native-bindings/index.js';
import { half } from '../../src/wire/byte-order.js';
import {
  IPV4,
  ipv4Fits,
  ipv4HeaderBytes,
  ipv4IsFragment,
  ipv4TotalLength,
  PROTOCOL,
} from '../../src/wire/ipv4.js';
import {
  IPV6_BAD_EXTENSION,
  IPV6_FRAGMENT,
  ipv6FirstTransport,
  ipv6FragmentHeader,
  ipv6Protocol,
  ipv6Transport,
} from '../../src/wire/ipv6.js';
import { TCP, TCP_FLAG, tcpFits } from '../../src/wire/tcp.js';
import { UDP, udpFits } from '../../src/wire/udp.js';
import { VNET } from '../../src/wire/virtio-net.js';
import { frame } from '../support/packets.js';

const DIRTY = 0xa5;

/** A packet of the slow builder, laid over dirty memory at an offset. */
function dirtyPacket(at: number, spec: Parameters<typeof frame>[0]): Uint8Array {
  const packet = frame(spec).subarray(VNET.SIZE);
  const memory = new Uint8Array(at + packet.length + 64).fill(DIRTY);
  memory.set(packet, at);
  return memory;
}

t.test('an IPv4 and TCP header reads back what was written, at any place', async (t) => {
  for (const at of [0, 4, 16, 128]) {
    const memory = dirtyPacket(at, {
      from: '10.0.1.2:40000',
      to: '10.103.145.7:8888',
      flags: ['SYN'],
      payload: Buffer.alloc(5),
    });
    const end = at + 45;
    t.equal(ipv4Fits(memory, at, end), true);
    t.equal(ipv4HeaderBytes(memory, at), 20);
    t.equal(ipv4TotalLength(memory, at), 45);
    t.equal(ipv4IsFragment(memory, at), false);
    t.equal(memory[at + IPV4.PROTOCOL], PROTOCOL.TCP);
    t.strictSame([...memory.subarray(at + IPV4.SRC, at + IPV4.SRC + 8)], [10, 0, 1, 2, 10, 103, 145, 7]);
    const l4 = at + 20;
    t.equal(tcpFits(memory, l4, end), true);
    t.equal(memory[l4 + TCP.FLAGS], TCP_FLAG.SYN);
    t.equal(half(new DataView(memory.buffer).getUint16(l4 + TCP.DPORT, true)), 8888);
  }
});

t.test('a UDP header reads back what was written', async (t) => {
  const memory = dirtyPacket(16, {
    from: '10.0.1.2:5353',
    to: '10.96.0.10:53',
    protocol: 'udp',
    payload: Buffer.alloc(3),
  });
  t.equal(memory[16 + IPV4.PROTOCOL], PROTOCOL.UDP);
  t.equal(udpFits(memory, 36, 47), true);
  t.equal(new DataView(memory.buffer).getUint16(36 + UDP.SPORT), 5353);
  t.equal(new DataView(memory.buffer).getUint16(36 + UDP.LENGTH), 11);
});

const ipv4Lies: { name: string; at: number; value: number }[] = [
  { name: 'version 5', at: 0, value: 0x55 },
  { name: 'a header of 16 bytes', at: 0, value: 0x44 },
  { name: 'a header longer than the packet', at: 0, value: 0x4f },
  { name: 'a total length beyond the packet', at: 3, value: 46 },
  { name: 'a total length of 64 KiB', at: 2, value: 0xff },
  { name: 'a total length shorter than the header', at: 3, value: 19 },
];
for (const { name, at, value } of ipv4Lies) {
  t.test(`an IPv4 packet with ${name} does not fit`, async (t) => {
    const memory = dirtyPacket(0, { from: '10.0.1.2:1', to: '10.0.1.3:2', payload: Buffer.alloc(5) });
    t.equal(ipv4Fits(memory, 0, 45), true);
    memory[at] = value;
    t.equal(ipv4Fits(memory, 0, 45), false);
  });
}

t.test('every IPv4 header length with too few bytes behind it does not fit', async (t) => {
  for (let ihl = 5; ihl <= 15; ihl++) {
    const memory = new Uint8Array(64).fill(DIRTY);
    memory.set([0x40 | ihl, 0, 0, ihl * 4]);
    for (let bytes = 0; bytes <= 60; bytes++) t.equal(ipv4Fits(memory, 0, bytes), bytes >= ihl * 4);
  }
});

t.test('any bit of the fragment field but DF and the reserved one makes a fragment', async (t) => {
  for (let bit = 0; bit < 16; bit++) {
    const memory = new Uint8Array(20);
    new DataView(memory.buffer).setUint16(IPV4.FLAGS_FRAGMENT, 1 << bit);
    t.equal(ipv4IsFragment(memory, 0), bit !== 14 && bit !== 15, `bit ${bit}`);
  }
});

t.test('a TCP header fits exactly when its data offset says so and the bytes are there', async (t) => {
  for (let offset = 0; offset < 16; offset++) {
    const memory = new Uint8Array(64).fill(DIRTY);
    memory[TCP.DATA_OFFSET] = (offset << 4) | 5;
    for (let bytes = 0; bytes <= 64; bytes++)
      t.equal(tcpFits(memory, 0, bytes), offset >= 5 && bytes >= offset * 4);
  }
});

t.test('a UDP length fits from 8 to what is there', async (t) => {
  const memory = new Uint8Array(64).fill(DIRTY);
  for (const length of [0, 7, 8, 20, 21, 0x1000]) {
    new DataView(memory.buffer).setUint16(UDP.LENGTH, length);
    t.equal(udpFits(memory, 0, 20), length >= 8 && length <= 20, `length ${length} in 20 bytes`);
  }
  t.equal(udpFits(memory, 0, 7), false);
});

t.test("the virtio-net header's offsets are those the addon was compiled with", async (t) => {
  t.strictSame(
    { ...VNET },
    {
      FLAGS: NATIVE_VNET_HDR.FLAGS,
      GSO_TYPE: NATIVE_VNET_HDR.GSO_TYPE,
      HDR_LEN: NATIVE_VNET_HDR.HDR_LEN,
      GSO_SIZE: NATIVE_VNET_HDR.GSO_SIZE,
      CSUM_START: NATIVE_VNET_HDR.CSUM_START,
      CSUM_OFFSET: NATIVE_VNET_HDR.CSUM_OFFSET,
      SIZE: NATIVE_VNET_HDR.BYTES,
    },
  );
});

t.test('a fragment header: atomic ones are walked over, any other makes a fragment', async (t) => {
  const memory = new Uint8Array(80);
  memory[0] = 0x60;
  memory[5] = 40;
  memory[6] = 0; // hop-by-hop options, a fragment header, 24 bytes
  memory.set([44, 0, 1, 4, 0, 0, 0, 0], 40);
  memory.set([17, 0xff, 0, 0, 1, 2, 3, 4], 48); // reserved byte: ignored
  t.equal(ipv6Transport(memory, 0, 80), 56);
  t.equal(ipv6Protocol(memory, 0, 56), 17);
  for (let bit = 0; bit < 16; bit++) {
    new DataView(memory.buffer).setUint16(50, 1 << bit);
    const reserved = bit === 1 || bit === 2;
    t.equal(ipv6Transport(memory, 0, 80), reserved ? 56 : IPV6_FRAGMENT, `bit ${bit}`);
    if (!reserved) t.equal(ipv6FragmentHeader(memory, 0), 48);
  }
  t.equal(ipv6FirstTransport(memory, 48, 80), 56);
  for (let end = 48; end < 56; end++)
    t.equal(ipv6Transport(memory, 0, end), IPV6_BAD_EXTENSION, `cut at ${end}`);
  // Behind the atomic one a real one.
  memory.set([44, 0, 0, 0, 0, 0, 0, 0], 48);
  memory.set([17, 0, 0, 8, 0, 0, 0, 0], 56);
  t.equal(ipv6Transport(memory, 0, 80), IPV6_FRAGMENT);
  t.equal(ipv6FragmentHeader(memory, 0), 56);
});
