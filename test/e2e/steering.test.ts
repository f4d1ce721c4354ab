/**
 * The steering program in the kernel against the workers' own judgement: random packets go through a real device with
 * several queues, and the worker whose queue one comes out of has to keep it.
 */
import { execFileSync } from 'node:child_process';
import { closeDescriptor, openQueue } from '../../native-bindings/index.js';
import { frameAt, Slab } from '../../src/dataplane/packet.js';
import { tunDevice } from '../../src/device/tun.js';
import { Steering } from '../../src/host/steering.js';
import { Random } from '../../src/shared/random.js';
import { cutAll } from '../support/fragments.js';
import { frame, type PacketSpec, view } from '../support/packets.js';
import { TestWorkers } from '../support/workers.js';
import { tapInSandbox } from './support.js';

const t = await tapInSandbox();

const SEED = Number(process.env['FLOWPIN_TEST_SEED'] ?? Date.now() % 1_000_000);
const random = new Random(SEED);
const TUN = 'steer0';
const SERVICES = {
  '10.103.145.7:8888/tcp': ['10.244.0.3:8080'],
  '10.103.145.7:8888/udp': ['10.244.0.3:8080'],
  '10.103.145.7:8888/sctp': ['10.244.0.3:8080'],
  '[fd00:10:96::7]:8888/tcp': ['[fd00:244::3]:8080'],
  '[fd00:10:96::7]:8888/udp': ['[fd00:244::3]:8080'],
  '[fd00:10:96::7]:8888/sctp': ['[fd00:244::3]:8080'],
};
const VIPS = new Set(['10.103.145.7', 'fd00:10:96::7']);

/** A device whose packets all come back to it: the kernel forwards what is written to where it came from. */
function openDevice(queues: number): { slab: Slab; descriptors: number[]; close: () => void } {
  const run = (command: string): unknown => execFileSync('sh', ['-ec', command], { stdio: 'pipe' });
  run(`
    ip tuntap add dev ${TUN} mode tun multi_queue vnet_hdr
    ip link set dev ${TUN} addrgenmode none txqueuelen 5000
    ip link set dev ${TUN} up
    ip address add 192.0.2.254/32 dev ${TUN}
    ip route add default dev ${TUN}
    ip -6 route add default dev ${TUN}
    cd /proc/sys/net
    echo 1 > ipv4/ip_forward; echo 1 > ipv6/conf/all/forwarding
    for dev in all ${TUN}; do echo 0 > ipv4/conf/$dev/rp_filter; echo 0 > ipv4/conf/$dev/send_redirects; done
  `);
  const descriptors = Array.from({ length: queues }, () => openQueue(TUN));
  return {
    slab: new Slab(),
    descriptors,
    close() {
      for (const descriptor of descriptors) closeDescriptor(descriptor);
      run(`ip link del ${TUN}`);
    },
  };
}

/** The kernel speaks for itself on a new device (multicast listener reports). */
const isMulticast = (bytes: Uint8Array): boolean => /^\[?(ff|22[4-9]\.)/.test(view(bytes).to);

/** Sends frames through the kernel. @returns those that came back, by queue */
function throughKernel(
  { slab, descriptors }: ReturnType<typeof openDevice>,
  frames: readonly Uint8Array[],
): Uint8Array[][] {
  const devices = descriptors.map((descriptor) => tunDevice(descriptor, -1, slab));
  const came: Uint8Array[][] = devices.map(() => []);
  for (let at = 0; at < frames.length; at += slab.lengths.length) {
    const batch = frames.slice(at, at + slab.lengths.length);
    for (const [slot, bytes] of batch.entries()) {
      slab.bytes.set(bytes, frameAt(slot));
      slab.lengths[slot] = bytes.length;
    }
    devices[0]!.writeBatch(batch.length);
    for (const [queue, device] of devices.entries()) {
      for (let count = device.readBatch(); count > 0; count = device.readBatch()) {
        for (let slot = 0; slot < count; slot++) {
          const bytes = slab.bytes.slice(frameAt(slot), frameAt(slot) + slab.lengths[slot]!);
          if (!isMulticast(bytes)) came[queue]!.push(bytes);
        }
      }
    }
  }
  return came;
}

/** An SCTP chunk that begins an association, as far as anybody here looks at it. */
const INIT = Uint8Array.of(1, 0, 0, 20, ...new Array<number>(16).fill(1));

const pick = <T>(list: readonly T[]): T => list[random.below(list.length)] as T;
const port = (): number => 1024 + random.below(60_000);
const host4 = (): string => `10.${random.below(200)}.${random.below(256)}.${1 + random.below(250)}`;
const host6 = (): string =>
  `2001:db8:${(1 + random.below(0xfffe)).toString(16)}::${(1 + random.below(0xfffe)).toString(16)}`;

/** A packet from a client to a Service. */
function query(): PacketSpec {
  const protocol = pick(['tcp', 'udp', 'sctp'] as const);
  const flags: PacketSpec['flags'] = ['SYN'];
  return random.below(2) === 0
    ? { from: `${host4()}:${port()}`, to: '10.103.145.7:8888', protocol, flags }
    : { from: `[${host6()}]:${port()}`, to: '[fd00:10:96::7]:8888', protocol, flags };
}

for (const queues of [2, 3, 5]) {
  t.test(`${queues} queues, seed ${SEED}`, async (t) => {
    const device = openDevice(queues);
    t.teardown(device.close);
    const steering = new Steering(device.descriptors[0]!, queues);
    if (steering.problem !== null) {
      t.test('needs to load a program', { skip: `bpf(2): ${steering.problem}` }, () => {});
      return;
    }
    t.teardown(() => steering.close());
    steering.add(VIPS);

    for (const masquerade of [true, false]) {
      const way = masquerade ? 'masqueraded' : 'with their own sources';
      const all = new TestWorkers(SERVICES, queues, { masquerade });
      const handed = (): number => all.counts['handed-off'] ?? 0;
      const deliver = (came: Uint8Array[][]): Uint8Array[] =>
        came.flatMap((frames, queue) => frames.flatMap((bytes) => all.deliver(queue, bytes)));

      const queries = Array.from({ length: 600 }, query);
      const first = throughKernel(
        device,
        queries.map((spec) => frame({ ...spec, ...(spec.protocol === 'sctp' && { payload: INIT }) })),
      );
      t.equal(first.flat().length, queries.length, 'every packet came back out of the kernel');
      t.ok(
        first.every((frames) => frames.length > queries.length / queues / 2),
        `spread: ${first.map((frames) => frames.length).join(' ')}`,
      );
      const sent = deliver(first);
      t.equal(handed(), 0, `first packets ${way} come to their owner`);
      t.equal(all.flowCount, new Set(queries.map(({ from, protocol }) => `${protocol} ${from}`)).size);

      const answers = sent.map((bytes) => {
        const { from, to, protocol } = view(bytes);
        return frame({ from: to, to: from, protocol, flags: ['SYN', 'ACK'] });
      });
      const back = deliver(throughKernel(device, answers));
      t.equal(back.length, answers.length, 'every answer was translated');
      t.equal(handed(), 0, `answers to flows ${way} come to the owner of the flow`);

      const payload = new Uint8Array(600).map(() => random.below(256));
      const datagrams = Array.from({ length: 200 }, (_, id) => {
        const spec: PacketSpec = { ...query(), protocol: 'udp', payload };
        return throughKernel(device, cutAll(frame(spec), 200, id + 1));
      });
      for (const came of datagrams) {
        t.equal(came.filter((frames) => frames.length > 0).length, 1, 'fragments of one datagram meet');
      }
    }
  });
}
