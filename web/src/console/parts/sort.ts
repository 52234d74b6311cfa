/** The order of a table's rows: by one column, up or down. Numbers by size, words by the reader's alphabet. */
export interface Order {
  column: string;
  down: boolean;
}

export type Key = string | number | null | undefined;

/** The rows in their order. Rows without a value come last, whichever way the order goes. */
export function sorted<T>(rows: readonly T[], key: (row: T) => Key, down: boolean, language?: string): T[] {
  const letters = new Intl.Collator(language, { numeric: true, sensitivity: 'base' });
  const compare = (one: T, other: T): number => {
    const [a, b] = [key(one), key(other)];
    const [noA, noB] = [a === null || a === undefined, b === null || b === undefined];
    if (noA || noB) return Number(noA) - Number(noB);
    const way = typeof a === 'number' && typeof b === 'number' ? a - b : letters.compare(String(a), String(b));
    return down ? -way : way;
  };
  return [...rows].sort(compare);
}

/** The order after a heading was pressed: by that column, or the other way round if it was so already. */
export function pressed(order: Order | undefined, column: string, number: boolean): Order {
  return order?.column === column ? { column, down: !order.down } : { column, down: number };
}
