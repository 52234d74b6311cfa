import { describe, expect, it } from 'vitest';

import { itemsOf, pieces, same, settingsOf, strict, strictness, whole } from './filters';

describe('whole', () => {
  it('fills in what is as by default', () => {
    const policy = whole({ name: 'default' });
    expect(policy.rules.hate.prompt).toEqual({ threshold: 'medium', action: 'block' });
    expect([policy.jailbreak, policy.indirect_attack, policy.embeddings]).toEqual(['block', 'off', true]);
    expect(policy.personal_data.kinds).toHaveLength(6);
  });

  it('keeps what is set, and gives it back', () => {
    const settings = {
      name: 'strict',
      hate: { prompt: { threshold: 'low' } },
      personal_data: { prompt: 'mask', kinds: ['email'] },
      guard: { deployment: 'guard', format: 'llama_guard' },
    };
    const policy = whole(settings);
    expect(policy.rules.hate).toEqual({
      prompt: { threshold: 'low', action: 'block' },
      completion: { threshold: 'medium', action: 'block' },
    });
    expect(policy.personal_data).toEqual({ prompt: 'mask', completion: 'off', kinds: ['email'] });
    expect(policy.guard).toEqual({ deployment: 'guard', format: 'llama_guard', always: false });
    expect(whole(settingsOf(policy))).toEqual(policy);
  });
});

it('turns a strictness into a rule and back', () => {
  const annotated = { threshold: 'high', action: 'annotate' } as const;
  expect(strictness(annotated)).toBe('high');
  expect(strict(annotated, 'low')).toEqual({ threshold: 'low', action: 'annotate' });
  expect(strictness(strict(annotated, 'off'))).toBe('off');
  expect(strict({ threshold: 'low', action: 'off' }, 'medium')).toEqual({ threshold: 'medium', action: 'block' });
});

describe('pieces', () => {
  it('cuts a text where something was found, counting code points', () => {
    const spans = [{ kind: 'personal_data' as const, name: 'email', start: 2, end: 7 }];
    expect(pieces('😀 a@b.c!', spans)).toEqual([
      { text: '😀 ', found: [] },
      { text: 'a@b.c', found: ['email'] },
      { text: '!', found: [] },
    ]);
  });

  it('names both where two finds overlap', () => {
    const spans = [
      { kind: 'secret' as const, name: 'token', start: 0, end: 3 },
      { kind: 'blocklist' as const, name: 'words', start: 2, end: 4 },
    ];
    expect(pieces('abcd', spans).map((each) => each.found)).toEqual([['token'], ['token', 'words'], ['words']]);
  });
});

it('reads items from lines', () => {
  expect(itemsOf(' project falcon \n\n/ab+c/\n')).toEqual([{ term: 'project falcon' }, { pattern: 'ab+c' }]);
});

it('compares whatever the order of keys', () => {
  expect(same({ a: 1, b: { c: [1, 2] } }, { b: { c: [1, 2] }, a: 1 })).toBe(true);
  expect(same({ a: [1, 2] }, { a: [2, 1] })).toBe(false);
});
