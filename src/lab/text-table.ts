// Tables on a terminal: columns without lines, words to the left, numbers to the right.

import Table from 'cli-table3';

/** A table without lines: `leftColumns` columns of words, the rest numbers. */
export function columns(head: string[], leftColumns = 1): Table.Table {
  const none = [
    'top',
    'top-mid',
    'top-left',
    'top-right',
    'bottom',
    'bottom-mid',
    'bottom-left',
    'bottom-right',
  ];
  const lines = ['left', 'left-mid', 'mid', 'mid-mid', 'right', 'right-mid', 'middle'];
  return new Table({
    head,
    chars: Object.fromEntries([...none, ...lines].map((name) => [name, ''])),
    colAligns: head.map((_, at) => (at < leftColumns ? 'left' : 'right')),
    style: { head: [], border: [], 'padding-left': 2, 'padding-right': 0 },
  });
}

export function text(table: Table.Table): string {
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}
