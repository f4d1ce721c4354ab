/**
 * What flowpin offers to programs: reading manifests, planning and compiling them, and asking the real pipeline about
 * packets through the in-memory device. `flowpin up` is the command line over `proxy.ts`.
 */
export { compile } from './control/compile/compile.js';
export { type Plan, type PlannedPort, planOf } from './control/compile/plan.js';
export { Registry } from './control/compile/registry.js';
export { DEFAULT_IPTABLES_EXPORT, iptablesText } from './control/export/iptables.js';
export type { ProxyOptions } from './control/model/proxy-options.js';
export { type Loaded, loadFiles, type SetAside } from './control/sources/file.js';
export { InMemoryDataplane } from './dataplane/in-memory.js';
export { type CountersSnapshot, readCounters } from './observe/counters.js';
export { ServiceTable } from './table/service-table.js';
