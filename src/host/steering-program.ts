/**
 * The program that the kernel runs for every packet into the device, to tell which worker's queue it goes to: conntrack/owner.ts
 * in BPF instructions. An address that is in the set of Service addresses makes the source the client, any other the
 * destination; a fragment goes where its datagram meets.
 *
 * It needs not be right: what arrives at a wrong worker is handed over there. Left to that are packets behind IPv6 extension
 * headers, ICMP errors, and what goes to the node's own address without being for a NodePort.
 *
 * Instruction set: the kernel's Documentation/bpf/standardization/instruction-set.rst. A packet of a TUN begins with its IP
 * header (drivers/net/tun.c, tun_ebpf_select_queue).
 */
import { PORT_FACTOR, SHARDS, STIR_SHIFT, TOP_SHIFT, WORD_FACTOR } from '../conntrack/owner.js';
import { ADDRESS_WORDS, ADDRESS_WORDS_MAX, FAMILY } from '../wire/family.js';
import { IPV4, PROTOCOL } from '../wire/ipv4.js';
import { IPV6, IPV6_EXTENSION, IPV6_FRAGMENT_HEADER } from '../wire/ipv6.js';

const OP = {
  ADD: 0x07,
  AND32: 0x54,
  CALL: 0x85,
  EXIT: 0x95,
  JUMP: 0x05,
  JUMP_EQUAL: 0x15,
  JUMP_NOT_EQUAL: 0x55,
  JUMP_SET: 0x45,
  LOAD_BYTE: 0x71,
  LOAD_HALF: 0x69,
  LOAD_WORD: 0x61,
  LOAD_MAP: 0x18,
  MOVE: 0xbf,
  MOVE32: 0xbc,
  MOVE_NUMBER: 0xb7,
  MOD32: 0x94,
  MUL32: 0x24,
  SHIFT_LEFT32: 0x64,
  SHIFT_RIGHT32: 0x74,
  STORE_NUMBER: 0x62,
  STORE_WORD: 0x63,
  SUM32: 0x0c,
  TO_BIG_ENDIAN: 0xdc,
  XOR32: 0xac,
} as const;

/** R0: results. R1 to R5: arguments, gone after a call. R6 on stay. R10: the end of the stack. */
const [R0, R1, R2, R3, R4] = [0, 1, 2, 3, 4];
const PACKET = 6;
const SUM = 7;
const STACK = 10;

const CALL_MAP_LOOKUP = 1;
const CALL_LOAD_BYTES = 26;
/** Of LOAD_MAP: the number is a descriptor. */
const PSEUDO_MAP_FD = 1;

/** Places on the stack: the IP header, what was read behind it, and the address to look up. */
const IP_AT = -104;
const BEHIND_AT = -64;
const KEY_AT = -56;
export const KEY_WORDS = ADDRESS_WORDS_MAX;

/** IPv4's "more fragments" and fragment offset, as a half. */
const IPV4_FRAGMENT = 0xff3f;

/** Instructions one behind the other, with jumps to names. */
class Assembler {
  private readonly words: number[] = [];
  private readonly labels = new Map<string, number>();
  private readonly jumps: { readonly at: number; readonly to: string }[] = [];

  emit(op: number, to: number, from = 0, offset = 0, number = 0): this {
    this.words.push(op | (to << 8) | (from << 12) | (offset << 16), number);
    return this;
  }

  jump(op: number, register: number, number: number, to: string): this {
    this.jumps.push({ at: this.words.length, to });
    return this.emit(op, register, 0, 0, number);
  }

  label(name: string): this {
    this.labels.set(name, this.words.length);
    return this;
  }

  /** @throws Error for a jump to nowhere */
  finish(): Int32Array {
    const words = Int32Array.from(this.words);
    for (const { at, to } of this.jumps) {
      const target = this.labels.get(to);
      if (target === undefined) throw new Error(`no label ${to}`);
      words[at] |= ((target - at) / 2 - 1) << 16;
    }
    return words;
  }
}

/**
 * @param addresses descriptor of the set of Service addresses: KEY_WORDS words each, an IPv4 address in the first
 * @param workers how many queues there are
 * @returns instructions, two words each
 */
export function steeringProgram(addresses: number, workers: number): Int32Array {
  const program = new Assembler();
  program.emit(OP.MOVE, PACKET, R1);
  loadBytes(program, 0, IP_AT, IPV4.SIZE);
  program
    .emit(OP.LOAD_BYTE, R2, STACK, IP_AT)
    .emit(OP.SHIFT_RIGHT32, R2, 0, 0, 4)
    .jump(OP.JUMP_EQUAL, R2, 4, 'ipv4')
    .jump(OP.JUMP_NOT_EQUAL, R2, 6, 'unknown');
  ipv6(program, addresses);
  program.label('ipv4');
  ipv4(program, addresses);

  program
    .label('client') // SUM: its address, stirred; R2: its port as a half
    .emit(OP.TO_BIG_ENDIAN, R2, 0, 0, 16)
    .emit(OP.MUL32, R2, 0, 0, PORT_FACTOR)
    .emit(OP.AND32, R2, 0, 0, 0xffff)
    .emit(OP.SHIFT_RIGHT32, R2, 0, 0, 8)
    .emit(OP.SHIFT_RIGHT32, SUM, 0, 0, TOP_SHIFT)
    .emit(OP.SUM32, SUM, R2)
    .jump(OP.JUMP, 0, 0, 'shard')
    .label('datagram') // SUM: addresses and identification, stirred
    .emit(OP.SHIFT_RIGHT32, SUM, 0, 0, TOP_SHIFT)
    .label('shard')
    .emit(OP.AND32, SUM, 0, 0, SHARDS - 1)
    .emit(OP.MOD32, SUM, 0, 0, workers)
    .emit(OP.MOVE, R0, SUM)
    .emit(OP.EXIT, 0)
    .label('unknown')
    .emit(OP.MOVE_NUMBER, R0, 0, 0, 0)
    .emit(OP.EXIT, 0);
  return program.finish();
}

function ipv4(program: Assembler, addresses: number): void {
  program
    .emit(OP.LOAD_HALF, R2, STACK, IP_AT + IPV4.FLAGS_FRAGMENT)
    .jump(OP.JUMP_SET, R2, IPV4_FRAGMENT, 'ipv4-fragment')
    .emit(OP.LOAD_BYTE, R2, STACK, IP_AT + IPV4.PROTOCOL);
  jumpIfBalanced(program, 'ipv4-ports');
  startSum(program);
  stirAddresses(program, FAMILY.V4);
  program.jump(OP.JUMP, 0, 0, 'datagram').label('ipv4-fragment');
  startSum(program);
  stirAddresses(program, FAMILY.V4);
  program.emit(OP.LOAD_HALF, R1, STACK, IP_AT + IPV4.ID);
  stir(program);
  program
    .jump(OP.JUMP, 0, 0, 'datagram')
    .label('ipv4-ports')
    .emit(OP.LOAD_BYTE, R2, STACK, IP_AT)
    .emit(OP.AND32, R2, 0, 0, 0xf)
    .emit(OP.SHIFT_LEFT32, R2, 0, 0, 2);
  loadBytesBehind(program, 4);
  client(program, addresses, FAMILY.V4);
}

function ipv6(program: Assembler, addresses: number): void {
  loadBytes(program, 0, IP_AT, IPV6.SIZE);
  program.emit(OP.LOAD_BYTE, R2, STACK, IP_AT + IPV6.NEXT_HEADER);
  jumpIfBalanced(program, 'ipv6-ports');
  program.jump(OP.JUMP_EQUAL, R2, IPV6_EXTENSION.FRAGMENT, 'ipv6-fragment');
  startSum(program);
  stirAddresses(program, FAMILY.V6);
  program.jump(OP.JUMP, 0, 0, 'datagram').label('ipv6-fragment');
  loadBytes(program, IPV6.SIZE, BEHIND_AT, IPV6_FRAGMENT_HEADER.SIZE);
  startSum(program);
  stirAddresses(program, FAMILY.V6);
  program.emit(OP.LOAD_WORD, R1, STACK, BEHIND_AT + IPV6_FRAGMENT_HEADER.ID);
  stir(program);
  program.jump(OP.JUMP, 0, 0, 'datagram').label('ipv6-ports');
  loadBytes(program, IPV6.SIZE, BEHIND_AT, 4);
  client(program, addresses, FAMILY.V6);
}

/** R2: a protocol with ports. */
function jumpIfBalanced(program: Assembler, to: string): void {
  for (const protocol of [PROTOCOL.TCP, PROTOCOL.UDP, PROTOCOL.SCTP]) {
    program.jump(OP.JUMP_EQUAL, R2, protocol, to);
  }
}

/** Source or destination, whichever is the client, into SUM and R2. The ports have been read. */
function client(program: Assembler, addresses: number, family: number): void {
  const [src, dst] = addressesAt(family);
  const count = ADDRESS_WORDS[family];
  for (let i = 0; i < KEY_WORDS; i++) {
    if (i >= count) program.emit(OP.STORE_NUMBER, STACK, 0, KEY_AT + 4 * i, 0);
    else {
      program.emit(OP.LOAD_WORD, R1, STACK, dst + 4 * i).emit(OP.STORE_WORD, STACK, R1, KEY_AT + 4 * i);
    }
  }
  program
    .emit(OP.LOAD_MAP, R1, PSEUDO_MAP_FD, 0, addresses)
    .emit(0, 0) // the upper half of the number
    .emit(OP.MOVE, R2, STACK)
    .emit(OP.ADD, R2, 0, 0, KEY_AT)
    .emit(OP.CALL, 0, 0, 0, CALL_MAP_LOOKUP);
  startSum(program);
  program.jump(OP.JUMP_EQUAL, R0, 0, `${family}-destination`);
  stirWords(program, src, count);
  program
    .emit(OP.LOAD_HALF, R2, STACK, BEHIND_AT)
    .jump(OP.JUMP, 0, 0, 'client')
    .label(`${family}-destination`);
  stirWords(program, dst, count);
  program.emit(OP.LOAD_HALF, R2, STACK, BEHIND_AT + 2).jump(OP.JUMP, 0, 0, 'client');
}

/** `count` bytes of the packet from `offset` on to a place on the stack. */
function loadBytes(program: Assembler, offset: number, to: number, count: number): void {
  program.emit(OP.MOVE_NUMBER, R2, 0, 0, offset);
  callLoadBytes(program, to, count);
}

/** The same from the offset in R2 on. */
const loadBytesBehind = (program: Assembler, count: number): void => callLoadBytes(program, BEHIND_AT, count);

function callLoadBytes(program: Assembler, to: number, count: number): void {
  program
    .emit(OP.MOVE, R1, PACKET)
    .emit(OP.MOVE, R3, STACK)
    .emit(OP.ADD, R3, 0, 0, to)
    .emit(OP.MOVE_NUMBER, R4, 0, 0, count)
    .emit(OP.CALL, 0, 0, 0, CALL_LOAD_BYTES)
    .jump(OP.JUMP_NOT_EQUAL, R0, 0, 'unknown');
}

const startSum = (program: Assembler): Assembler => program.emit(OP.MOVE_NUMBER, SUM, 0, 0, 0);

/** R1 stirred into SUM: `stir` of conntrack/owner.ts. */
function stir(program: Assembler): void {
  program
    .emit(OP.XOR32, SUM, R1)
    .emit(OP.MUL32, SUM, 0, 0, WORD_FACTOR)
    .emit(OP.MOVE32, R1, SUM)
    .emit(OP.SHIFT_RIGHT32, R1, 0, 0, STIR_SHIFT)
    .emit(OP.XOR32, SUM, R1);
}

function stirWords(program: Assembler, at: number, count: number): void {
  for (let i = 0; i < count; i++) {
    program.emit(OP.LOAD_WORD, R1, STACK, at + 4 * i);
    stir(program);
  }
}

function stirAddresses(program: Assembler, family: number): void {
  for (const at of addressesAt(family)) stirWords(program, at, ADDRESS_WORDS[family]);
}

/** Places of source and destination on the stack. */
const addressesAt = (family: number): [src: number, dst: number] =>
  family === FAMILY.V4 ? [IP_AT + IPV4.SRC, IP_AT + IPV4.DST] : [IP_AT + IPV6.SRC, IP_AT + IPV6.DST];
