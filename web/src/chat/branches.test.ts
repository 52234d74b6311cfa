import { describe, expect, it } from 'vitest';

import { parting, variantsAfter } from './branches';
import type { Conversation } from './types';

const talk = (id: string, created_at: number, metadata: Record<string, string> = {}): Conversation => ({
  id,
  created_at,
  metadata,
});
const ROOT = talk('root', 1);
const AGAIN = talk('again', 2, { parent: 'root', fork: 'q1' });
const THIRD = talk('third', 3, { parent: 'root', fork: 'q1' });
const LATER = talk('later', 4, { parent: 'again', fork: 'a1b' });
const ANEW = talk('anew', 5, { parent: 'root', fork: 'start' });
const FAMILY = [ANEW, LATER, THIRD, ROOT, AGAIN];

describe('where branches part', () => {
  it('is in the conversation in which the item was first said', () => {
    expect(parting(ROOT, FAMILY, 'q1', ['q1', 'a1'])).toEqual({ parent: 'root', fork: 'q1' });
    expect(parting(AGAIN, FAMILY, 'q1', ['q1', 'a1b'])).toEqual({ parent: 'root', fork: 'q1' });
    expect(parting(AGAIN, FAMILY, 'a1b', ['q1', 'a1b'])).toEqual({ parent: 'again', fork: 'a1b' });
    expect(parting(LATER, FAMILY, 'q1', ['q1', 'a1b', 'q2'])).toEqual({ parent: 'root', fork: 'q1' });
    expect(parting(LATER, FAMILY, null, ['q1', 'a1b'])).toEqual({ parent: 'root', fork: 'start' });
  });

  it('stays there when the older items have not been fetched', () => {
    expect(parting(LATER, FAMILY, 'q3', ['a2', 'q3'])).toEqual({ parent: 'later', fork: 'q3' });
  });
});

describe('the versions to choose from', () => {
  it('are in the order in which they were made', () => {
    expect(variantsAfter(ROOT, FAMILY, 'q1')).toEqual({ ids: ['root', 'again', 'third'], shown: 0 });
    expect(variantsAfter(THIRD, FAMILY, 'q1')).toEqual({ ids: ['root', 'again', 'third'], shown: 2 });
    expect(variantsAfter(LATER, FAMILY, 'q1')).toEqual({ ids: ['root', 'again', 'third'], shown: 1 });
    expect(variantsAfter(ANEW, FAMILY, null)).toEqual({ ids: ['root', 'anew'], shown: 1 });
  });

  it('are none where nothing parts, or the others were deleted', () => {
    expect(variantsAfter(ROOT, FAMILY, 'a1')).toBeNull();
    expect(variantsAfter(AGAIN, [AGAIN], 'q1')).toBeNull();
  });
});
