/** The two address families, as the numbers that packets' records and tables carry. */
export const FAMILY = { V4: 0, V6: 1 } as const;
export const FAMILIES = [FAMILY.V4, FAMILY.V6] as const;

/** Words of an address, by family. */
export const ADDRESS_WORDS = [1, 4] as const;

/** Words of a tuple, by family: source, destination, and the ports in one word. */
export const TUPLE_WORDS = [3, 9] as const;

/** The longest address in words: what a table that holds both families keeps for each. */
export const ADDRESS_WORDS_MAX = 4;
