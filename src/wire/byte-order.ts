/**
 * Words and halves: 32 and 16 bits of a packet as this machine reads them from memory.
 *
 * The hot path never swaps bytes. Addresses and ports are only compared, hashed and copied, and the internet
 * checksum does not depend on byte order (RFC 1071 section 2(B)), so a packet is read through Int32Array and
 * Uint16Array and every value that is compared with it is put into the same order once, here.
 */
import { assert } from '../shared/assert.js';

// Only the odd last byte of a checksum and the halves of a ports word depend on this; Linux on x86-64, arm64
// and riscv64 is little-endian.
assert(new Uint8Array(Uint16Array.of(1).buffer)[0] === 1, 'flowpin runs on little-endian machines');

/** A 16-bit number (a port, a length) as a half. Its own inverse. */
export const half = (value: number): number => ((value & 0xff) << 8) | (value >>> 8);

/** A 32-bit number (an IPv4 address in host order) as a word. Its own inverse up to sign. */
export const word = (value: number): number =>
  (value << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24);

/** The ports word of a header that begins with source and destination port: two halves in packet order. */
export const portsWord = (sportHalf: number, dportHalf: number): number => sportHalf | (dportHalf << 16);

/** The half of the source port in a ports word. */
export const sportHalf = (ports: number): number => ports & 0xffff;

/** The half of the destination port in a ports word. */
export const dportHalf = (ports: number): number => ports >>> 16;

/** The ports word of the opposite direction. */
export const swapPorts = (ports: number): number => (ports << 16) | (ports >>> 16);
