/** The addon without a TUN device: any descriptor that reads and writes will do. */
import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, readFileSync, symlinkSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import {
  bindSlab,
  closeDescriptor,
  copyIcmpErrors,
  errnoName,
  mapFile,
  openIcmpErrors,
  openQueue,
  openSender,
  openWake,
  readBatch,
  setOffload,
  waitReadable,
  wake,
  writeBatch,
} from '../../native-bindings/index.js';

const SLOTS = 4;
const SLOT_BYTES = 128;
const FRAME_AT = 6;

function slabOn(descriptor: number) {
  const slab = new ArrayBuffer(SLOTS * SLOT_BYTES);
  const lengths = new Int32Array(SLOTS);
  const chain = new Int32Array(SLOTS * 3);
  return {
    bytes: new Uint8Array(slab),
    lengths,
    chain,
    bound: bindSlab(descriptor, slab, lengths, chain, SLOT_BYTES, FRAME_AT),
  };
}

t.test('mapped files', async (t) => {
  t.test('two maps of a file are one memory, and the file holds it', async (t) => {
    const path = join(t.testdir(), 'shared');
    const one = new Int32Array(mapFile(path, 4096) as ArrayBuffer);
    const two = new Int32Array(mapFile(path, 4096) as ArrayBuffer);
    one[7] = 42;
    t.equal(two[7], 42);
    t.equal(Atomics.add(two, 7, 1), 42);
    t.equal(one[7], 43);
    t.equal(readFileSync(path).readInt32LE(28), 43);
    t.equal(readFileSync(path).length, 4096);
  });

  t.test('what a file holds already is there, and it grows to the length that is asked for', async (t) => {
    const path = join(t.testdir({ file: 'abcd' }), 'file');
    const memory = new Uint8Array(mapFile(path, 8192) as ArrayBuffer);
    t.equal(Buffer.from(memory.subarray(0, 6)).toString(), 'abcd\0\0');
    t.equal(readFileSync(path).length, 8192);
  });

  t.test('failures are negative errnos', async (t) => {
    const dir = t.testdir({ file: '' });
    symlinkSync('file', join(dir, 'link'));
    const name = (path: string, bytes: number) => errnoName(mapFile(path, bytes) as number);
    t.equal(name(join(dir, 'missing', 'x'), 1), 'ENOENT');
    t.equal(name(join(dir, 'link'), 1), 'ELOOP', 'a link in the state directory is not followed');
    t.equal(name(dir, 1), 'EISDIR');
    t.equal(name(join(dir, 'file'), 0), 'EINVAL');
    t.match(name(join(dir, 'huge'), 2 ** 60), /^(EFBIG|ENOSPC)$/, 'by file system');
  });
});

t.test('a queue', async (t) => {
  const fifo = join(t.testdir(), 'fifo');
  execFileSync('mkfifo', [fifo]);
  const descriptor = openSync(fifo, constants.O_RDWR | constants.O_NONBLOCK);
  t.teardown(() => closeSync(descriptor));
  const { bytes, lengths, bound } = slabOn(descriptor);
  const wakeDescriptor = openWake();
  t.teardown(() => closeDescriptor(wakeDescriptor));

  t.equal(readBatch(bound), 0, 'nothing waits');
  t.equal(waitReadable(bound, wakeDescriptor, 0), 0);
  const before = performance.now();
  t.equal(waitReadable(bound, wakeDescriptor, 30), 0);
  t.ok(performance.now() - before >= 25, 'it waited');

  wake(wakeDescriptor);
  wake(wakeDescriptor);
  const woken = performance.now();
  t.equal(waitReadable(bound, wakeDescriptor, 5000), 0, 'woken, nothing to read');
  t.ok(performance.now() - woken < 1000);
  t.equal(waitReadable(bound, wakeDescriptor, 0), 0, 'both calls are answered by the one awakening');
  t.equal(waitReadable(bound, -1, 0), 0, 'nobody wakes');

  writeSync(descriptor, 'frame');
  t.equal(waitReadable(bound, wakeDescriptor, 1000), 1);
  t.equal(readBatch(bound), 1);
  t.equal(lengths[0], 5);
  t.equal(Buffer.from(bytes.subarray(FRAME_AT, FRAME_AT + 5)).toString(), 'frame');

  bytes.set(Buffer.from('one'), FRAME_AT);
  bytes.set(Buffer.from('two'), SLOT_BYTES + FRAME_AT);
  bytes.set(Buffer.from('six'), 3 * SLOT_BYTES + FRAME_AT);
  lengths.set([3, 0, -5, 3]);
  t.equal(writeBatch(bound, 4), 2, 'slots of length 0 and below are passed over');
  t.equal(readBatch(bound), 1);
  t.equal(Buffer.from(bytes.subarray(FRAME_AT, FRAME_AT + 6)).toString(), 'onesix', 'in order');

  t.equal(errnoName(writeBatch(bound, 5)), 'EINVAL');
  t.equal(errnoName(writeBatch(bound, -1)), 'EINVAL');
  t.equal(errnoName(waitReadable(bound, -1, -1)), 'EINVAL', 'never a wait without an upper bound');
});

t.test('slots that are chained are one packet', async (t) => {
  const fifo = join(t.testdir(), 'fifo');
  execFileSync('mkfifo', [fifo]);
  const descriptor = openSync(fifo, constants.O_RDWR | constants.O_NONBLOCK);
  t.teardown(() => closeSync(descriptor));
  const { bytes, lengths, chain, bound } = slabOn(descriptor);
  for (const [slot, text] of ['head', '..mid', 'alone', '.end'].entries()) {
    bytes.set(Buffer.from(text), slot * SLOT_BYTES + FRAME_AT);
  }
  const read = (): string => {
    const { bytes: into, lengths: read, bound: reader } = slabOn(descriptor);
    t.equal(readBatch(reader), 1);
    return Buffer.from(into.subarray(FRAME_AT, FRAME_AT + read[0]!)).toString();
  };

  lengths.set([4, 0, 5, 0]);
  chain.set([2, 0, 0, 4, 2, 3, 0, 0, 0, 0, 1, 3]); // 0 -> 1 from byte 2, 3 bytes -> 3 from byte 1, 3 bytes
  t.equal(writeBatch(bound, 4), 2);
  t.equal(read(), 'headmidendalone', 'a pipe runs writes together; their order is that of the heads');

  const wrong = {
    'round in a circle': [2, 0, 0, 2, 0, 1, 0, 0, 0, 0, 0, 0],
    'out of the slab': [9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    'from before its frame': [2, 0, 0, 0, -1, 1, 0, 0, 0, 0, 0, 0],
    'beyond its slot': [2, 0, 0, 0, 100, 100, 0, 0, 0, 0, 0, 0],
  };
  for (const [name, numbers] of Object.entries(wrong)) {
    lengths.set([4, 0, 0, 0]);
    chain.set(numbers);
    t.equal(writeBatch(bound, 4), 0, name);
    t.equal(errnoName(lengths[0]!), 'EINVAL');
  }
});

t.test('a frame that is refused gets its errno, the others go on', async (t) => {
  const descriptor = openSync('/dev/full', 'w');
  t.teardown(() => closeSync(descriptor));
  const { lengths, bound } = slabOn(descriptor);
  lengths.set([3, 0, 4, SLOT_BYTES]);
  t.equal(writeBatch(bound, 4), 0);
  t.strictSame([errnoName(lengths[0]), lengths[1], errnoName(lengths[2])], ['ENOSPC', 0, 'ENOSPC']);
  t.equal(lengths[3], SLOT_BYTES, 'longer than its slot: not written');
});

t.test('a closed descriptor answers EBADF', async (t) => {
  const path = join(t.testdir(), 'file');
  writeFileSync(path, '');
  const descriptor = openSync(path, 'r+');
  const { bound } = slabOn(descriptor);
  t.equal(closeDescriptor(descriptor), 0);
  t.equal(errnoName(readBatch(bound)), 'EBADF');
  t.equal(errnoName(closeDescriptor(descriptor)), 'EBADF');
});

t.test('a device cannot have every name', async (t) => {
  t.equal(errnoName(openQueue('')), 'ENAMETOOLONG');
  t.equal(errnoName(openQueue('sixteen-letters-')), 'ENAMETOOLONG');
  const descriptor = openSync('/dev/null', 'r+');
  t.teardown(() => closeSync(descriptor));
  t.equal(errnoName(setOffload(descriptor, 1)), 'ENOTTY');
});

t.test('sockets of ICMP errors: failures are negative errnos', async (t) => {
  t.equal(errnoName(openIcmpErrors(5 as 4)), 'EINVAL');
  t.equal(errnoName(copyIcmpErrors(-1, 4, -1, 'lo', 1)), 'EBADF');
  t.equal(errnoName(copyIcmpErrors(-1, 6, -1, 'lo', 1)), 'EBADF');
  t.equal(copyIcmpErrors(-1, 4, -1, 'lo', 0), 0, 'none were asked for');
  for (const descriptor of [openIcmpErrors(4), openSender()]) {
    if (descriptor >= 0) t.equal(closeDescriptor(descriptor), 0);
    else t.equal(errnoName(descriptor), 'EPERM', 'without CAP_NET_RAW');
  }
});

t.test('a call with wrong arguments throws', async (t) => {
  const slab = new ArrayBuffer(SLOTS * SLOT_BYTES);
  const lengths = new Int32Array(SLOTS);
  const chain = new Int32Array(SLOTS * 3);
  const wrong =
    (...args: unknown[]) =>
    () =>
      (bindSlab as (...args: unknown[]) => unknown)(...args);
  t.throws(
    wrong(0, slab, lengths, chain, SLOT_BYTES + 1, FRAME_AT),
    TypeError,
    'a slab that is shorter than its slots',
  );
  t.throws(
    wrong(0, slab, new Uint32Array(SLOTS), chain, SLOT_BYTES, FRAME_AT),
    TypeError,
    'lengths of another type',
  );
  t.throws(wrong(0, slab, lengths, chain, SLOT_BYTES, SLOT_BYTES), TypeError, 'no room for a frame');
  t.throws(wrong(0, slab, lengths, chain, SLOT_BYTES, -1), TypeError);
  t.throws(wrong(0, slab, lengths, lengths, SLOT_BYTES, FRAME_AT), TypeError, 'a chain of another length');
  t.throws(wrong(0, 'slab', lengths, chain, SLOT_BYTES, FRAME_AT), TypeError);
  t.throws(() => (readBatch as (bound: unknown) => unknown)({}), TypeError);
  t.throws(() => (mapFile as (path: unknown, bytes: unknown) => unknown)('x', 'y'), TypeError);
});
