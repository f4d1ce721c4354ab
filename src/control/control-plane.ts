/**
 * Files -> plan, again and again: what was read before and has not changed is neither read nor worked out again. Bad
 * input is set aside and told once, not at every reading.
 */
import { type Plan, Planner } from './compile/plan.js';
import type { ProxyOptions } from './model/proxy-options.js';
import { FileSource } from './sources/file-source.js';
import { type KubeObject, objectLabel } from './sources/kube-object.js';
import { remarkText, type SetAside } from './sources/origin.js';

export interface Reading {
  readonly plan: Plan;
  /** Whether any file is another than at the reading before. */
  readonly changed: boolean;
  /** Services whose ports or endpoints are not what they were at the reading before: "namespace/name". */
  readonly updatedServices: ReadonlySet<string>;
  /** What is wrong with the input now, and was not at the reading before. */
  readonly newlySetAside: readonly SetAside[];
  /** Files whose last good content stands, told as they begin to. */
  readonly newlyKept: readonly string[];
  /** See FileReading. */
  readonly againMs: number;
}

export class ControlPlane {
  private readonly source: FileSource;
  private readonly planner: Planner;
  private objects = new Map<string, KubeObject>();
  private told: ReadonlySet<string> = new Set();

  /** @param options of which those about the node itself (name, labels, feature gates) do not change any more */
  constructor(files: readonly string[], options: ProxyOptions) {
    this.source = new FileSource(files);
    this.planner = new Planner(options);
  }

  /** Reads the files again. Never throws for what is in them. */
  read(): Reading {
    const { loaded, kept, changed, againMs } = this.source.read();
    this.apply(loaded.objects);
    const { updatedServices } = this.planner.state.applyChanges();
    const plan = this.planner.plan();
    const setAside = [...loaded.setAside, ...plan.setAside];
    const before = this.told;
    this.told = new Set([...setAside.map(remarkText), ...kept]);
    return {
      plan,
      changed: changed.length > 0,
      updatedServices,
      newlySetAside: setAside.filter((remark) => !before.has(remarkText(remark))),
      newlyKept: kept.filter((text) => !before.has(text)),
      againMs,
    };
  }

  /** Objects of files that were not read again are the same values as before. */
  private apply(objects: readonly KubeObject[]): void {
    const earlier = this.objects;
    const current = new Map(objects.map((object) => [objectLabel(object), object]));
    this.objects = current;
    for (const [label, object] of earlier) if (!current.has(label)) this.planner.state.delete(object);
    for (const [label, object] of current) {
      if (earlier.get(label) !== object) this.planner.state.upsert(object);
    }
  }
}
