/** The chance that one rule of kube-proxy's cascade takes a connection that the rules before it have left. */

/**
 * @param restCount how many endpoints are left, this one included
 * @returns text of `--probability`: Go's `%0.10f` of 1/restCount
 */
export function probabilityText(restCount: number): string {
  // toFixed rounds half up and Go to even; 1/n ends exactly half-way after ten digits for n = 2048 alone.
  return restCount === 2048 ? '0.0004882812' : (1 / restCount).toFixed(10);
}
