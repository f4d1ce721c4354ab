/** What every command that reads manifests shares. */
import { Option } from 'commander';

/** `-f`, as kubectl has it: may be repeated; files and directories. */
export function filenameOption(): Option {
  return new Option('-f, --filename <path>', 'Kubernetes manifests: a file or a directory; may be repeated')
    .argParser((value: string, earlier: string[] | undefined) => [...(earlier ?? []), value])
    .makeOptionMandatory();
}
