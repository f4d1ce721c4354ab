/**
 * What flowpin offers to programs: reading manifests, compiling them, and asking the real pipeline about packets
 * through the in-memory device. `flowpin up` is the command line over `proxy.ts`.
 */
export { compile, isBalanced } from './control/compile/compile.js';
export { EndpointIds } from './control/compile/endpoint-ids.js';
export { type Frontend, frontendsOf } from './control/compile/frontends.js';
export { type Loaded, loadFiles, type SetAside } from './control/sources/file.js';
export { type CountersSnapshot, readCounters } from './observe/counters.js';
export { ServiceTable } from './table/service-table.js';
