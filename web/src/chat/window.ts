/** Which turns of a long conversation are in the page: a stretch of them, never all. */
export interface Stretch {
  from: number;
  /** Behind the last; Infinity keeps to the end while the conversation grows. */
  to: number;
}

export const MOST = 80;
export const STEP = 30;
const FIRST = 24;

/** The end of a conversation. */
export function atEnd(total: number): Stretch {
  return { from: Math.max(0, total - FIRST), to: Infinity };
}

/** Some more before the stretch; what is then too much goes at its end. */
export function up(stretch: Stretch, total: number): Stretch {
  const from = Math.max(0, stretch.from - STEP);
  const end = Math.min(stretch.to, total);
  return end - from > MOST ? { from, to: from + MOST } : { from, to: stretch.to };
}

/** Some more behind the stretch. */
export function down(stretch: Stretch, total: number): Stretch {
  if (stretch.to >= total) return { ...stretch, to: Infinity };
  const to = stretch.to + STEP >= total ? Infinity : stretch.to + STEP;
  const end = Math.min(to, total);
  return { from: Math.max(stretch.from, end - MOST), to };
}

/** So many turns have come before all others. */
export function moved(stretch: Stretch, by: number): Stretch {
  return { from: Math.max(0, stretch.from + by), to: stretch.to + by };
}

/** The stretch after the conversation has grown at its end. */
export function grown(stretch: Stretch, total: number): Stretch {
  return stretch.to === Infinity && total - stretch.from > MOST ? atEnd(total) : stretch;
}
