import { InvalidArgumentError } from 'commander';

/** A parser of option values. */
export const wholeNumber =
  (min: number, max: number) =>
  (given: string): number => {
    if (!/^\d{1,10}$/.test(given) || Number(given) < min || Number(given) > max)
      throw new InvalidArgumentError(`must be a whole number from ${min} to ${max}.`);
    return Number(given);
  };
