/** A virtual clock: things happen in the order of their times, and of equal times in the order they were asked for. */

interface Entry {
  readonly ms: number;
  /** Breaks ties, so that the order is the same in every run. */
  readonly order: number;
  readonly action: () => void;
}

export class Timeline {
  /** Milliseconds since the beginning. */
  nowMs = 0;
  /** Binary heap, the earliest first. */
  readonly #heap: Entry[] = [];
  #asked = 0;

  /** @param ms not before now */
  at(ms: number, action: () => void): void {
    const heap = this.#heap;
    let place = heap.length;
    const entry = { ms: Math.max(ms, this.nowMs), order: this.#asked++, action };
    heap.push(entry);
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (!isBefore(entry, heap[parent])) break;
      heap[place] = heap[parent];
      place = parent;
    }
    heap[place] = entry;
  }

  after(ms: number, action: () => void): void {
    this.at(this.nowMs + ms, action);
  }

  /** When something happens next; Infinity when nothing is left. */
  get nextMs(): number {
    return this.#heap[0]?.ms ?? Number.POSITIVE_INFINITY;
  }

  /** Moves the clock, past nothing that is to happen before. */
  moveTo(ms: number): void {
    this.nowMs = ms;
  }

  /** Moves the clock to what happens next and lets it happen. Something must be left. */
  step(): void {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop() as Entry;
    if (heap.length > 0) this.#sink(last);
    this.nowMs = first.ms;
    first.action();
  }

  #sink(entry: Entry): void {
    const heap = this.#heap;
    let place = 0;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1], heap[child])) child++;
      if (!isBefore(heap[child], entry)) break;
      heap[place] = heap[child];
      place = child;
    }
    heap[place] = entry;
  }
}

const isBefore = (a: Entry, b: Entry): boolean => a.ms < b.ms || (a.ms === b.ms && a.order < b.order);
