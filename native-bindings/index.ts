/**
 * The typed face of the native addon, and the only module that loads it.
 *
 * JavaScript owns the memory, the addon only makes system calls. Nothing here throws for what the kernel
 * answers: results are counts (zero or more) or a negative errno, readable with `errnoName`. Sources: the
 * kernel's Documentation/networking/tuntap.rst, linux/if_tun.h, linux/virtio_net.h; mmap(2), poll(2).
 */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { getSystemErrorName } from 'node:util';

/** A queue's descriptor tied to the slab that its packets are read into and written from. */
export type BoundSlab = { readonly brand: 'BoundSlab' };

interface Addon {
  openQueue(name: string): number;
  setOffload(descriptor: number, flags: number): number;
  closeDescriptor(descriptor: number): number;
  bindSlab(
    descriptor: number,
    slab: ArrayBuffer,
    lengths: Int32Array,
    chain: Int32Array,
    slotBytes: number,
    frameAt: number,
  ): BoundSlab;
  readBatch(bound: BoundSlab): number;
  writeBatch(bound: BoundSlab, count: number): number;
  openWake(): number;
  wake(descriptor: number): number;
  waitReadable(bound: BoundSlab, wake: number, timeoutMs: number): number;
  mapFile(path: string, bytes: number): ArrayBuffer | number;
  openIcmpErrors(version: number): number;
  openSender(): number;
  copyIcmpErrors(from: number, version: number, to: number, device: string, most: number): number;
  createSet(keyBytes: number, most: number): number;
  addToSet(set: number, key: Int32Array): number;
  removeFromSet(set: number, key: Int32Array): number;
  steerQueues(queue: number, program: Int32Array): number;
  readonly TUN_F_CSUM: number;
  readonly TUN_F_TSO4: number;
  readonly TUN_F_TSO6: number;
  readonly TUN_F_TSO_ECN: number;
  readonly TUN_F_USO4: number;
  readonly TUN_F_USO6: number;
  readonly VNET_HDR_BYTES: number;
  readonly VNET_HDR_FLAGS: number;
  readonly VNET_HDR_GSO_TYPE: number;
  readonly VNET_HDR_HDR_LEN: number;
  readonly VNET_HDR_GSO_SIZE: number;
  readonly VNET_HDR_CSUM_START: number;
  readonly VNET_HDR_CSUM_OFFSET: number;
}

// From dist/native-bindings/ to the addon that node-gyp built beside the sources.
const ADDON = fileURLToPath(new URL('../../native-bindings/build/Release/flowpin.node', import.meta.url));
const addon = createRequire(import.meta.url)(ADDON) as Addon;

/** What the kernel may hand over unfinished (TUNSETOFFLOAD). Bits of linux/if_tun.h. */
export const OFFLOAD = {
  CSUM: addon.TUN_F_CSUM,
  TSO4: addon.TUN_F_TSO4,
  TSO6: addon.TUN_F_TSO6,
  TSO_ECN: addon.TUN_F_TSO_ECN,
  USO4: addon.TUN_F_USO4,
  USO6: addon.TUN_F_USO6,
} as const;

/** `struct virtio_net_hdr` as the addon was compiled with it: its size and its fields' byte offsets. */
export const NATIVE_VNET_HDR = {
  BYTES: addon.VNET_HDR_BYTES,
  FLAGS: addon.VNET_HDR_FLAGS,
  GSO_TYPE: addon.VNET_HDR_GSO_TYPE,
  HDR_LEN: addon.VNET_HDR_HDR_LEN,
  GSO_SIZE: addon.VNET_HDR_GSO_SIZE,
  CSUM_START: addon.VNET_HDR_CSUM_START,
  CSUM_OFFSET: addon.VNET_HDR_CSUM_OFFSET,
} as const;

/**
 * Opens one more queue of the TUN device `name`, which is made if it is not there: no packet information, a
 * virtio-net header before each packet, several queues, non-blocking.
 * @returns the file descriptor, or a negative errno: EACCES/ENOENT/EPERM (no device node, no CAP_NET_ADMIN),
 *   EINVAL (there is such a device, made with other flags), ENAMETOOLONG (15 bytes at most).
 */
export const openQueue = (name: string): number => addon.openQueue(name);

/**
 * Sets which offloads (bits of `OFFLOAD`) packets read from the device may carry; for the whole device.
 * @returns 0, or a negative errno: EINVAL when the kernel knows none of a pair (USO needs 6.2).
 */
export const setOffload = (descriptor: number, flags: number): number => addon.setOffload(descriptor, flags);

/** Closes a descriptor. @returns 0 or a negative errno. */
export const closeDescriptor = (descriptor: number): number => addon.closeDescriptor(descriptor);

/**
 * Ties a queue to packet memory: `lengths.length` slots of `slotBytes` each, a frame (virtio-net header and
 * packet) beginning `frameAt` bytes into its slot. The slab must be exactly as long as its slots. `chain` has three numbers a
 * slot, for `writeBatch`: the next slot of the same packet + 1 (0: none), and where in its frame the part to be written
 * begins and how long that is, which count for all but a packet's first slot.
 * @throws TypeError when the shapes do not fit.
 */
export const bindSlab = (
  descriptor: number,
  slab: ArrayBuffer,
  lengths: Int32Array,
  chain: Int32Array,
  slotBytes: number,
  frameAt: number,
): BoundSlab => addon.bindSlab(descriptor, slab, lengths, chain, slotBytes, frameAt);

/**
 * Reads the packets that wait, up to one a slot, and never blocks. `lengths[i]` becomes the bytes of frame i.
 * @returns how many frames were read (0: none waited), or a negative errno: EBADFD when the device is gone.
 */
export const readBatch = (bound: BoundSlab): number => addon.readBatch(bound);

/**
 * Writes the first `count` slots in order, each with what is chained to it, skipping those whose length is 0 or less. A frame
 * that the kernel refuses gets its negative errno into `lengths`; the others go on.
 * @returns how many frames were written, or a negative errno for wrong use.
 */
export const writeBatch = (bound: BoundSlab, count: number): number => addon.writeBatch(bound, count);

/** Makes something that `wake` signals and `waitReadable` listens to (eventfd). @returns a descriptor or a negative errno */
export const openWake = (): number => addon.openWake();

/** Ends the `waitReadable` that listens to this descriptor, or the next one. @returns 0 or a negative errno */
export const wake = (descriptor: number): number => addon.wake(descriptor);

/**
 * Blocks this thread until a packet can be read, `wake` is called, or `timeoutMs` milliseconds have passed.
 * @param wakeDescriptor from `openWake`; -1: nobody wakes
 * @returns 1 (readable, or an error that the next read will tell), 0 (woken, or time is up), or a negative errno
 */
export const waitReadable = (bound: BoundSlab, wakeDescriptor: number, timeoutMs: number): number =>
  addon.waitReadable(bound, wakeDescriptor, timeoutMs);

/**
 * Maps the first `bytes` of a file (made, and allocated to that length, if need be) shared and writable.
 * The memory is unmapped when the ArrayBuffer is collected.
 * @returns the memory, or a negative errno: ENOSPC when the file system is full, ELOOP for a symbolic link.
 */
export const mapFile = (path: string, bytes: number): ArrayBuffer | number => addon.mapFile(path, bytes);

/**
 * Opens a socket that gets copies of the ICMP errors (or ICMPv6 errors) that are delivered to this host.
 * @param version 4 or 6
 * @returns a descriptor, or a negative errno: EPERM without CAP_NET_RAW, EAFNOSUPPORT without IPv6
 */
export const openIcmpErrors = (version: 4 | 6): number => addon.openIcmpErrors(version);

/** Opens a socket that puts packets onto devices and receives none. @returns a descriptor, or a negative errno as above */
export const openSender = (): number => addon.openSender();

/**
 * Puts the errors that wait, `most` of them, onto a device as if they were routed into it; never blocks.
 * @param from of `openIcmpErrors` @param to of `openSender`
 * @returns how many there were, or a negative errno: ENXIO or ENETDOWN when there is no such device, or it is down
 */
export const copyIcmpErrors = (
  from: number,
  version: 4 | 6,
  to: number,
  device: string,
  most: number,
): number => addon.copyIcmpErrors(from, version, to, device, most);

/**
 * Makes a set in the kernel for a steering program to look up (a BPF hash map).
 * @param keyBytes length of its members @param most members at once
 * @returns its descriptor, or a negative errno: EPERM without CAP_BPF or CAP_SYS_ADMIN outside of user namespaces.
 */
export const createSet = (keyBytes: number, most: number): number => addon.createSet(keyBytes, most);

/** @param key as long as the set's members @returns 0 or a negative errno: E2BIG when the set is full */
export const addToSet = (set: number, key: Int32Array): number => addon.addToSet(set, key);

/** @param key as long as the set's members @returns 0 or a negative errno: ENOENT when it was not in */
export const removeFromSet = (set: number, key: Int32Array): number => addon.removeFromSet(set, key);

/**
 * Loads a program and has it choose the queue of every packet that the kernel sends into the device: its result modulo the
 * number of queues.
 * @param queue a queue of the device @param program BPF instructions, two words each, of type SOCKET_FILTER
 * @returns 0, or a negative errno: EPERM as for `createSet`, EACCES or EINVAL when the kernel's verifier refuses it.
 */
export const steerQueues = (queue: number, program: Int32Array): number => addon.steerQueues(queue, program);

/** The name of a negative errno, e.g. "EPERM". */
export const errnoName = (result: number): string => getSystemErrorName(result);
