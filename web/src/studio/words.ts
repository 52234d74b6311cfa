/** How the studio writes what it knows of pictures. */
import { number } from '../lib/format';
import { t } from '../lib/i18n.svelte';
import { type Operation, sidesOf } from './picture';
import type { Slot, Work } from './works.svelte';

/** 256 × 256, or that the painter chooses. */
export function sizeText(size: string): string {
  if (size === 'auto') return t('studio:automatic');
  const [width, height] = sidesOf(size).map((side) => number(side, { useGrouping: false }));
  return `${width} × ${height}`;
}

export function operationText(operation: Operation): string {
  const words: Record<Operation, string> = {
    generation: t('studio:operation.generation'),
    edit: t('studio:operation.edit'),
    variation: t('studio:operation.variation'),
    upload: t('studio:operation.upload'),
  };
  return words[operation];
}

/** How far a picture is. */
export function progressText(work: Work, slot: Slot): string {
  if (slot.done) return t('studio:keeping');
  if (slot !== work.current) return t('studio:inLine');
  if (work.order.operation === 'variation') return t('studio:underWay');
  if (!work.taken) return t('studio:waiting');
  if (work.order.states === 0) return t('studio:underWay');
  return t('studio:step', { step: slot.shown + 1, steps: work.order.states + 1 });
}
