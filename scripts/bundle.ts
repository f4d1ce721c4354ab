/**
 * Joins what runs once a packet into one module each for the workers and for the benchmarks in memory: dist/bundle/.
 *
 * V8 treats a constant of the same module as a constant, but what is imported it loads anew and checks at every use
 * (docs/decisions/0016-one-module-for-the-hot-path.md). So rollup puts all modules into one scope, and terser, of all that it could
 * do, writes numbers in the place of the constants that stand for them. Names stay, for stack traces and profiles.
 */
import { dirname, isAbsolute, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type InputOptions, type Plugin, rollup } from 'rollup';
import { minify } from 'terser';

/** Absolute path of a file of the compiled tree. */
const dist = (path: string): string => fileURLToPath(new URL(`../${path}`, import.meta.url));

/** What is bundled, and where it goes. */
const BUNDLES = {
  'src/dataplane/worker.js': 'bundle/worker.js',
  'bench/in-memory.js': 'bundle/bench.js',
  'bench/rates.js': 'bundle/rates.js',
};

const numbersForConstants: Plugin = {
  name: 'numbers-for-constants',
  async renderChunk(code) {
    const { code: folded } = await minify(code, {
      module: true,
      mangle: false,
      compress: {
        ...{ defaults: false, passes: 3 },
        ...{
          evaluate: true,
          reduce_vars: true,
          hoist_props: true,
          unused: true,
          dead_code: true,
          keep_fnames: true,
        },
      },
      format: { beautify: true },
    });
    return { code: folded ?? code, map: null };
  },
};

for (const [input, file] of Object.entries(BUNDLES)) {
  const options: InputOptions = {
    input: dist(input),
    plugins: [numbersForConstants],
    // Packages are found by Node, and the addon by its place.
    external: (id, _importer, isResolved) =>
      isResolved ? id.startsWith(dist('native-bindings/')) : !/^[./]/.test(id),
    onLog: (_level, log) => {
      throw new Error(`${input}: ${log.message}`);
    },
  };
  const bundle = await rollup(options);
  const paths = (id: string): string => (isAbsolute(id) ? relative(dirname(dist(file)), id) : id);
  await bundle.write({ file: dist(file), format: 'es', paths });
  await bundle.close();
}
