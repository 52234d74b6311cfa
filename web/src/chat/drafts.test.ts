import { expect, it } from 'vitest';

import { joined } from './drafts';

it('words that come back stand before those that were written meanwhile', () => {
  expect(joined('old', 'new')).toBe('old\n\nnew');
  expect(joined('old', '')).toBe('old');
  expect(joined('', 'new')).toBe('new');
  expect(joined('same', 'same ')).toBe('same ');
});
