import { t } from 'tap';
import { PcapError, readRecording } from '../../src/device/pcap-file.js';
import { ETHERNET_HEADER, type PcapForm, pcapngOf, pcapOf, RAW } from '../support/recordings.js';

const packet = (size: number): Uint8Array => Uint8Array.from([0x45, ...new Array<number>(size - 1).fill(7)]);
const CAPTURED = [
  { ms: 1_700_000_000_123.5, packet: packet(40) },
  { ms: 1_700_000_000_124.25, packet: packet(41) },
  { ms: 1_700_000_001_000, packet: Uint8Array.from([0x60, ...new Array<number>(59).fill(1)]) },
];

const FORMS: [name: string, form: PcapForm][] = [
  ['raw IP, little-endian, microseconds', RAW],
  ['raw IP, big-endian, nanoseconds', { ...RAW, littleEndian: false, nanoseconds: true }],
  ['Ethernet', { ...RAW, linkType: 1, header: ETHERNET_HEADER }],
  [
    'Ethernet with a VLAN tag',
    { ...RAW, linkType: 1, header: [...ETHERNET_HEADER.slice(0, 12), 0x81, 0, 0, 5, 8, 0] },
  ],
  ['Linux cooked v1', { ...RAW, linkType: 113, header: new Array<number>(16).fill(0) }],
  ['Linux cooked v2', { ...RAW, linkType: 276, header: new Array<number>(20).fill(0) }],
  ['loopback of a BSD', { ...RAW, linkType: 0, header: [2, 0, 0, 0] }],
];

for (const [name, form] of FORMS) {
  t.test(`pcap: ${name}`, async (t) => {
    const { packets, skipped } = readRecording(pcapOf(CAPTURED, form));
    t.equal(skipped, 0);
    t.same(
      packets.map(({ ms, packet }) => ({ ms, packet: [...packet] })),
      CAPTURED.map(({ ms, packet }) => ({ ms, packet: [...packet] })),
    );
  });
}

for (const [name, resolution] of [
  ['microseconds where nothing is said', null],
  ['nanoseconds', 9],
  ['a power of two', 0x80 | 20],
] as const) {
  t.test(`pcapng: ${name}`, async (t) => {
    const { packets, skipped } = readRecording(pcapngOf(CAPTURED, 101, resolution));
    t.equal(skipped, 0);
    t.equal(packets.length, 3);
    for (const [index, { ms, packet }] of packets.entries()) {
      t.ok(Math.abs(ms - CAPTURED[index]!.ms) < 0.001, `${ms}`);
      t.same([...packet], [...CAPTURED[index]!.packet]);
    }
  });
}

t.test('what is no IP packet is counted, and a file that is cut off is read as far as it goes', async (t) => {
  const arp = { ...RAW, linkType: 1, header: [...ETHERNET_HEADER.slice(0, 12), 8, 6] };
  t.equal(readRecording(pcapOf(CAPTURED, arp)).skipped, 3);
  t.equal(readRecording(pcapOf(CAPTURED, { ...RAW, linkType: 9999 })).skipped, 3);
  const whole = pcapOf(CAPTURED, RAW);
  for (let length = 24; length < whole.length; length++) {
    t.ok(readRecording(whole.subarray(0, length)).packets.length < 3, `${length} bytes`);
  }
  const ng = pcapngOf(CAPTURED, 101, 9);
  for (let length = 32; length < ng.length; length++) {
    t.ok(readRecording(ng.subarray(0, length)).packets.length < 3, `${length} bytes`);
  }
});

t.test('something else is refused by name', async (t) => {
  t.throws(() => readRecording(new Uint8Array(3)), PcapError);
  t.throws(() => readRecording(Buffer.from('apiVersion: v1, kind: Service')), PcapError);
});
