/** What is measured of the packet's way in memory: bundled as the workers are (scripts/bundle.ts), so that it is what they run. */

export { InMemoryDataplane } from '../src/dataplane/in-memory.js';
export { stepFigures } from './steps.bench.js';
