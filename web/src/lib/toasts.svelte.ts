/** Short notes at the edge of the page: what was done, or what failed. Read out by screen readers. */
export interface Toast {
  id: number;
  text: string;
  kind: 'note' | 'error';
  action?: { label: string; run: () => void };
}

const STAYS_MS = { note: 5000, error: 12_000 };
let next = 0;
const shown = $state<Toast[]>([]);

export function toasts(): readonly Toast[] {
  return shown;
}

export function toast(text: string, options: Partial<Pick<Toast, 'kind' | 'action'>> = {}): void {
  const made: Toast = { id: next++, text, kind: 'note', ...options };
  shown.push(made);
  setTimeout(() => dismiss(made.id), STAYS_MS[made.kind]);
}

/** Tell what went wrong with something that was tried. */
export function toastError(error: unknown): void {
  toast(error instanceof Error ? error.message : String(error), { kind: 'error' });
}

export function dismiss(id: number): void {
  const place = shown.findIndex((each) => each.id === id);
  if (place >= 0) shown.splice(place, 1);
}
