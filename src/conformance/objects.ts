/** Objects as a test upserts and deletes them, one by one. */
import { type KubeObject, objectLabel } from '../control/sources/kube-object.js';
import { Origin, remarkText } from '../control/sources/origin.js';
import { readObject } from '../control/sources/read-object.js';

/** A Service or an EndpointSlice, as the API has it. */
export type RawObject = Readonly<Record<string, unknown>>;

export class ObjectStore {
  readonly #objects = new Map<string, KubeObject>();
  /** What was wrong with objects, in lines: such an object is not there, here as everywhere. */
  readonly remarks: string[] = [];

  /** @param values objects that replace those of the same kind and name */
  upsert(values: readonly RawObject[]): this {
    for (const value of values) {
      const { object, setAside } = readObject(value, new Origin('the case', () => 0));
      this.remarks.push(...setAside.map(remarkText));
      if (object === null) this.delete([value]);
      else this.#objects.set(objectLabel(object), object);
    }
    return this;
  }

  /** @param references objects, of which only kind, namespace and name are looked at */
  delete(references: readonly RawObject[]): this {
    for (const { kind, metadata } of references) {
      const { namespace, name } = metadata as { namespace?: string; name: string };
      this.#objects.delete(`${kind} ${namespace ?? 'default'}/${name}`);
    }
    return this;
  }

  /** What there is now; later changes do not show in it. */
  list(): KubeObject[] {
    return [...this.#objects.values()];
  }
}
