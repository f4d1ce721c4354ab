/**
 * Datagrams of which fragments are on their way: what became of the first fragment, which has the ports, for the later
 * ones, which have none; and the later ones that came before it, until it comes.
 *
 *   places  SETS sets of WAYS; a datagram's key tells its set, the probe is the set. When a set is full, the datagram
 *           goes that would have gone first anyhow, so no flood closes the table
 *   held    HELD_MAX frames in a circle: a new one takes the place of the oldest, whether that one's time was up or not
 *
 * Nothing is reassembled. Per datagram the bytes seen are kept as sorted ranges, so that a fragment that overlaps others is
 * told from one that is sent twice, and so that a datagram that is complete makes room at once. All memory is of fixed size
 * (about 0.7 MiB) and private to one worker; nothing is kept over a restart.
 */
import { assert, isPowerOfTwo } from '../shared/assert.js';
import { finish, mix } from '../shared/hash.js';

/** A datagram's place: word offset of its record in `words`. */
export type Place = number & { readonly brand?: 'place' };
export const NO_PLACE: Place = -1;

/** A datagram without its first fragment is waited for so long at most (RFC 6146 section 4 asks for two seconds). */
export const WAIT_MS = 2000;
/** A datagram whose first fragment came is remembered so long at most. (Linux: 30 s, but it has to have all of it.) */
export const KNOWN_MS = 10_000;

const SETS = 256;
const WAYS = 8;
export const PLACES = SETS * WAYS;
assert(isPowerOfTwo(SETS), 'SETS is used as a mask');

/** Frames held at once; a frame beyond HELD_BYTES_MAX, of an MTU beyond 2000, is not held. */
export const HELD_MAX = 128;
export const HELD_BYTES_MAX = 2048;
/** Of one datagram: 65,535 bytes are 54 fragments over IPv6's least MTU, 45 over Ethernet. */
export const HELD_PER_DATAGRAM_MAX = 64;
assert(isPowerOfTwo(HELD_MAX), 'HELD_MAX is used as a mask');

/** Separate ranges of bytes seen: 54 fragments in the worst order leave 27. */
export const RANGES_MAX = 32;

/** Source, destination (four words each, IPv4 in the first), identification, and family and protocol. */
export const KEY = { SRC: 0, DST: 4, ID: 8, KIND: 9, WORDS: 10 } as const;

/** What is known of a datagram; offsets into its record. */
export const DATAGRAM = {
  /** Tells one user of the place from the next; 0: nobody's. */
  SERIAL: 0,
  FATE: 1,
  /** Of the first fragment: ports word, transport protocol, and ENTRY.DELTAS of its flow: what was done to it. */
  PORTS: 2,
  PROTOCOL: 3,
  DELTAS: 4,
  /** Fragments held. */
  HELD: 5,
  /** Bytes of the whole, once the last fragment was seen; else 0. */
  TOTAL: 6,
  RANGE_COUNT: 7,
  KEY: 8,
  /** Ranges of bytes seen, sorted, none touching the next: first byte << 16 | byte behind. */
  RANGES: 8 + KEY.WORDS,
  SIZE: 8 + KEY.WORDS + RANGES_MAX,
} as const;

export const FATE = {
  /** The first fragment has not come. */
  WAITING: 0,
  /** It was translated by a flow. */
  FLOW: 1,
  /** It passed: not our business. */
  PASSED: 2,
  /** It was dropped or answered, or fragments overlap: nothing more of the datagram is let through. */
  REFUSED: 3,
  /** ELSEWHERE + worker: it was handed to that worker, which has its flow. */
  ELSEWHERE: 4,
} as const;

/** What a range of bytes is to those that were seen before it. */
export const Added = {
  New: 0,
  /** The datagram is complete with it. */
  Complete: 1,
  /** All of it was seen before. */
  Duplicate: 2,
  /** A part of it was seen before, or it lies behind the end. */
  Overlap: 3,
  /** Too many separate ranges. */
  NoRoom: 4,
} as const;
export type Added = (typeof Added)[keyof typeof Added];

export class FragmentTable {
  readonly words = new Int32Array(PLACES * DATAGRAM.SIZE);
  /** The key of the fragment in hand, for `find` and `begin`. */
  readonly key = new Int32Array(KEY.WORDS);
  /** Of the fragment in hand: bytes [start, end) of the datagram, and whether more follow. */
  start = 0;
  end = 0;
  more = false;
  /** Frames held now. */
  heldCount = 0;
  /** Whether one of them may have seen its datagram's first fragment go. */
  ready = false;

  private readonly seed: number;
  /** By place: millisecond from which on nothing is known of the datagram. */
  private readonly expiresMs = new Float64Array(PLACES);
  private serial = 0;
  private readonly frames = new Uint8Array(HELD_MAX * HELD_BYTES_MAX);
  private readonly heldLength = new Int32Array(HELD_MAX);
  private readonly heldPlace = new Int32Array(HELD_MAX);
  private readonly heldSerial = new Int32Array(HELD_MAX);
  private readonly heldDueMs = new Float64Array(HELD_MAX);
  /** Where the next frame is held: behind the youngest, at the oldest. */
  private cursor = 0;

  /** @param seed of the hash of keys, drawn at start */
  constructor(seed: number) {
    this.seed = seed | 0;
  }

  /** @returns the place of the datagram of `key`, or NO_PLACE */
  find(nowMs: number): Place {
    const first = this.setOf() * WAYS;
    for (let number = first; number < first + WAYS; number++) {
      const place = number * DATAGRAM.SIZE;
      if (this.isLive(number, nowMs) && this.hasKey(place)) return place;
    }
    return NO_PLACE;
  }

  /** A place for the datagram of `key`, which has none: WAITING, nothing seen. */
  begin(nowMs: number): Place {
    const first = this.setOf() * WAYS;
    let chosen = first;
    for (let number = first; number < first + WAYS; number++) {
      if (!this.isLive(number, nowMs)) {
        chosen = number;
        break;
      }
      if (this.expiresMs[number] < this.expiresMs[chosen]) chosen = number;
    }
    const place = chosen * DATAGRAM.SIZE;
    this.words.fill(0, place, place + DATAGRAM.SIZE);
    this.serial = (this.serial + 1) | 0 || 1;
    this.words[place] = this.serial;
    for (let i = 0; i < KEY.WORDS; i++) this.words[place + DATAGRAM.KEY + i] = this.key[i];
    this.expiresMs[chosen] = nowMs + WAIT_MS;
    return place;
  }

  /** Forgets a datagram. */
  remove(place: Place): void {
    this.words[place] = 0;
  }

  /** The first fragment's fate, from now on that of all. */
  settle(place: Place, fate: number, nowMs: number): void {
    this.words[place + DATAGRAM.FATE] = fate;
    this.expiresMs[place / DATAGRAM.SIZE] = nowMs + KNOWN_MS;
    if (this.words[place + DATAGRAM.HELD] > 0) this.ready = true;
  }

  /** Notes what the first fragment was translated by. @param deltas ENTRY.DELTAS of the flow */
  follow(place: Place, ports: number, protocol: number, deltas: number): void {
    this.words[place + DATAGRAM.PORTS] = ports;
    this.words[place + DATAGRAM.PROTOCOL] = protocol;
    this.words[place + DATAGRAM.DELTAS] = deltas;
  }

  /** Notes the bytes of the fragment in hand. What is answered Duplicate, Overlap or NoRoom is not noted. */
  add(place: Place): Added {
    const { words, start, end } = this;
    const ranges = place + DATAGRAM.RANGES;
    const count = words[place + DATAGRAM.RANGE_COUNT];
    let at = 0;
    while (at < count && rangeEnd(words[ranges + at]) <= start) at++;
    if (at < count && rangeStart(words[ranges + at]) < end) {
      const contained = rangeStart(words[ranges + at]) <= start && end <= rangeEnd(words[ranges + at]);
      return contained ? Added.Duplicate : Added.Overlap;
    }
    const total = words[place + DATAGRAM.TOTAL];
    if (!this.more && (total !== 0 || at < count)) return Added.Overlap; // a second end, or bytes behind the end
    if (this.more && total !== 0 && end > total) return Added.Overlap;

    const touchesLeft = at > 0 && rangeEnd(words[ranges + at - 1]) === start;
    const touchesRight = at < count && rangeStart(words[ranges + at]) === end;
    if (touchesLeft && touchesRight) {
      words[ranges + at - 1] = rangeOf(rangeStart(words[ranges + at - 1]), rangeEnd(words[ranges + at]));
      words.copyWithin(ranges + at, ranges + at + 1, ranges + count);
      words[place + DATAGRAM.RANGE_COUNT] = count - 1;
    } else if (touchesLeft) {
      words[ranges + at - 1] = rangeOf(rangeStart(words[ranges + at - 1]), end);
    } else if (touchesRight) {
      words[ranges + at] = rangeOf(start, rangeEnd(words[ranges + at]));
    } else {
      if (count === RANGES_MAX) return Added.NoRoom;
      words.copyWithin(ranges + at + 1, ranges + at, ranges + count);
      words[ranges + at] = rangeOf(start, end);
      words[place + DATAGRAM.RANGE_COUNT] = count + 1;
    }
    if (!this.more) words[place + DATAGRAM.TOTAL] = end;
    const whole = words[place + DATAGRAM.TOTAL];
    return whole !== 0 && words[ranges] === rangeOf(0, whole) ? Added.Complete : Added.New;
  }

  /**
   * Copies a fragment of a datagram that WAITS.
   * @returns how many other frames lost their place to it (0 or 1), or -1 when there is no room for this one
   */
  hold(place: Place, bytes: Uint8Array, from: number, length: number): number {
    const { words } = this;
    if (length > HELD_BYTES_MAX || words[place + DATAGRAM.HELD] === HELD_PER_DATAGRAM_MAX) return -1;
    const held = this.cursor;
    const lost = this.heldLength[held] > 0 ? 1 : 0;
    if (lost === 1) this.free(held);
    this.cursor = (held + 1) & (HELD_MAX - 1);
    for (let i = 0; i < length; i++) this.frames[held * HELD_BYTES_MAX + i] = bytes[from + i];
    this.heldLength[held] = length;
    this.heldPlace[held] = place;
    this.heldSerial[held] = words[place];
    this.heldDueMs[held] = this.expiresMs[place / DATAGRAM.SIZE];
    this.heldCount++;
    words[place + DATAGRAM.HELD]++;
    return lost;
  }

  /**
   * Takes out the oldest frame whose datagram's first fragment has come. When there is none, `ready` is false again.
   * @param to where it is copied to in `bytes` @returns its length, or 0
   */
  release(bytes: Uint8Array, to: number): number {
    for (let i = 0; i < HELD_MAX; i++) {
      const held = (this.cursor + i) & (HELD_MAX - 1);
      const length = this.heldLength[held];
      const place = this.heldPlace[held];
      if (length === 0 || this.words[place] !== this.heldSerial[held]) continue;
      if (this.words[place + DATAGRAM.FATE] === FATE.WAITING) continue;
      for (let j = 0; j < length; j++) bytes[to + j] = this.frames[held * HELD_BYTES_MAX + j];
      this.free(held);
      return length;
    }
    this.ready = false;
    return 0;
  }

  /** Gives up the frames whose time is over. @returns how many */
  expire(nowMs: number): number {
    let expired = 0;
    for (let held = 0; held < HELD_MAX; held++) {
      if (this.heldLength[held] === 0 || this.heldDueMs[held] > nowMs) continue;
      this.free(held);
      expired++;
    }
    return expired;
  }

  private free(held: number): void {
    const place = this.heldPlace[held];
    if (this.words[place] === this.heldSerial[held]) this.words[place + DATAGRAM.HELD]--;
    this.heldLength[held] = 0;
    this.heldCount--;
  }

  private setOf(): number {
    let hash = this.seed;
    for (let i = 0; i < KEY.WORDS; i++) hash = mix(hash, this.key[i]);
    return finish(hash) & (SETS - 1);
  }

  private isLive(number: number, nowMs: number): boolean {
    return this.words[number * DATAGRAM.SIZE] !== 0 && this.expiresMs[number] > nowMs;
  }

  private hasKey(place: Place): boolean {
    let i = 0;
    while (i < KEY.WORDS && this.words[place + DATAGRAM.KEY + i] === this.key[i]) i++;
    return i === KEY.WORDS;
  }
}

const rangeOf = (start: number, end: number): number => (start << 16) | end;
const rangeStart = (range: number): number => range >>> 16;
const rangeEnd = (range: number): number => range & 0xffff;
