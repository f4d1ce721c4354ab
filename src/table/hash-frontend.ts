import { finish, mix } from '../shared/hash.js';

// Fixed and not drawn: the same Services must give the same bytes, and who may create Services is trusted.
const SEED = 0x666c6f77;

/** The hash of a frontend's place in the table. @param address word @param key `frontendKey(...)` */
export const hashFrontend = (address: number, key: number): number => finish(mix(mix(SEED, address), key));
