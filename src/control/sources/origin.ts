/**
 * Where in the user's input an object stands, so that every later message can name file, line and field.
 *
 * Lines are worked out only when somebody asks: a file can hold 250,000 endpoints, and almost none of them is
 * ever mentioned.
 */

/** Steps from an object's root to one of its fields: `['spec', 'ports', 1, 'port']`. */
export type Path = readonly PathStep[];
export type PathStep = string | number;

/** The place of one object in a file. */
export class Origin {
  readonly file: string;
  readonly #lineOf: (path: Path) => number;

  /** @param lineOf answers the line (from 1) of a field, or of the nearest enclosing one that is there */
  constructor(file: string, lineOf: (path: Path) => number) {
    this.file = file;
    this.#lineOf = lineOf;
  }

  /** The line, from 1, where the object starts. */
  get line(): number {
    return this.#lineOf([]);
  }

  /** The line, from 1, of one of the object's fields; of the nearest enclosing one when the field is missing. */
  lineOf(path: Path): number {
    return this.#lineOf(path);
  }

  /** The origin of an object inside this one: a List's item. */
  at(inner: Path): Origin {
    return new Origin(this.file, (path) => this.#lineOf([...inner, ...path]));
  }
}

/** Something of the input that is not used, said so that a person finds it. */
export interface Remark {
  readonly file: string;
  /** From 1; 0 when it is about the file as a whole. */
  readonly line: number;
  /** "Service default/httpenv"; "" when unknown. */
  readonly object: string;
  /** "spec.ports[1].port"; "" when it is about the object as a whole. */
  readonly field: string;
  readonly reason: string;
}

/** Bad input: it is set aside, and everything else works. */
export type SetAside = Remark;
/** Good input that the proxy has no use for, as kube-proxy has none: a headless Service for example. */
export type Ignored = Remark;

/** @param object the label of the object, as `objectLabel` makes it */
export function remarkAt(origin: Origin, object: string, path: Path, reason: string): Remark {
  return { file: origin.file, line: origin.lineOf(path), object, field: fieldText(path), reason };
}

/** A remark about a whole file: it cannot be read, it holds nothing. */
export function remarkOnFile(file: string, reason: string): Remark {
  return { file, line: 0, object: '', field: '', reason };
}

/** One line for people: `a.yaml:12: Service default/httpenv: spec.ports[0].port: must be ...`. */
export function remarkText({ file, line, object, field, reason }: Remark): string {
  const place = line === 0 ? file : `${file}:${line}`;
  return [place, object, field, reason].filter((part) => part !== '').join(': ');
}

/** `['spec', 'ports', 1, 'port']` as Kubernetes prints it: `spec.ports[1].port`. */
export function fieldText(path: Path): string {
  return path
    .map((step, index) => {
      if (typeof step === 'number') return `[${step}]`;
      if (!/^\w+$/.test(step)) return `[${step}]`; // a label's key, as kubectl prints it: metadata.labels[a.io/b]
      return index === 0 ? step : `.${step}`;
    })
    .join('');
}
