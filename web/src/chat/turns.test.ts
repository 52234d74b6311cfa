import { describe, expect, it } from 'vitest';

import { titleOf, turnsOf, turnText } from './turns';
import type { Item } from './types';

const said = (id: string, role: string, text: string): Item => ({
  id,
  type: 'message',
  role,
  content: [{ type: role === 'user' ? 'input_text' : 'output_text', text }],
});

describe('turns', () => {
  it('take all that a model does about a message as one answer', () => {
    const items = [
      said('s', 'system', 'Be brief.'),
      said('u', 'user', 'Paint.'),
      { id: 'r', type: 'reasoning' },
      { id: 'p', type: 'image_generation_call' },
      said('a', 'assistant', 'Done.'),
      said('v', 'user', 'Thanks.'),
    ];
    const turns = turnsOf(items, { r: 'answer-1' });
    expect(turns.map((each) => [each.key, each.role, each.after, each.items.length])).toEqual([
      ['u', 'user', 's', 1],
      ['answer-1', 'assistant', 'u', 3],
      ['v', 'user', 'a', 1],
    ]);
    expect(turns.map(turnText)).toEqual(['Paint.', 'Done.', 'Thanks.']);
  });

  it('keep two messages of the user apart', () => {
    expect(turnsOf([said('a', 'user', '1'), said('b', 'user', '2')])).toHaveLength(2);
  });
});

it('titles are one short line', () => {
  expect(titleOf('## Tea\n  and cake')).toBe('Tea and cake');
  const long = titleOf('tea '.repeat(40));
  expect(long.length).toBeLessThanOrEqual(61);
  expect(long.endsWith('tea…')).toBe(true);
  expect(titleOf('x'.repeat(59) + '🍵🍵')).toBe('x'.repeat(59) + '🍵…');
});
