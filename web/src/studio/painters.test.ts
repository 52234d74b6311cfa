import { expect, it } from 'vitest';

import { paintersIn } from './painters.svelte';

it('finds the painters among models, the default first', () => {
  const found = paintersIn([
    { id: 'chat', details: { task: 'chat' } },
    { id: 'large', details: { task: 'images', operations: ['images.generations'], sizes: ['1024x1024'] } },
    { id: 'paint', details: { task: 'images', default: true, model: 'starter-painter', partial_images: false } },
    { id: 'unknown' },
  ]);
  expect(found.map((each) => each.id)).toEqual(['paint', 'large']);
  expect(found[0]).toMatchObject({ model: 'starter-painter', sizes: [], edits: true, variations: true, states: false });
  expect(found[1]).toMatchObject({ sizes: ['1024x1024'], edits: false, variations: false, states: true });
});
