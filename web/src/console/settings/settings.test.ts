import { describe, expect, it } from 'vitest';

import { erasableLabel, erasableWord, inDays, jsonObject, keepBody, seconds, shownValue, sum } from './settings';

it('turns days into seconds and back', () => {
  expect(seconds('30')).toBe(2_592_000);
  expect(seconds('0,5')).toBe(43_200);
  expect(seconds('0')).toBeNull();
  expect(seconds('99999')).toBeNull();
  expect(seconds('a while')).toBeNull();
  expect(inDays(86_400)).toBe('1');
  expect(inDays(43_200)).toBe('0.5');
});

describe('keepBody', () => {
  const holds = { files: 864_000, answers: 86_400 };

  it('sends only what was changed, and what was set before', () => {
    expect(keepBody({ files: '10', answers: '2' }, { files: 864_000 }, holds)).toEqual({
      files: 864_000,
      answers: 172_800,
    });
    expect(keepBody({ files: '10', answers: '1' }, {}, holds)).toEqual({});
  });

  it('goes back to what holds above where a field is emptied', () => {
    expect(keepBody({ files: '', answers: '1' }, { files: 60 }, holds)).toEqual({});
  });

  it('sends nothing that is no time', () => {
    expect(keepBody({ files: 'x' }, {}, holds)).toBeNull();
  });
});

it('adds up what was deleted', () => {
  expect(sum({ files: 2, answers: 1 })).toBe(3);
  expect(sum(4)).toBe(4);
  expect(sum(undefined)).toBe(0);
});

it('reads objects of JSON and nothing else', () => {
  expect(jsonObject('{"name": "a"}')).toEqual({ name: 'a' });
  expect(jsonObject('[1]')).toBeNull();
  expect(jsonObject('{')).toBeNull();
});

it('shows values on one line', () => {
  expect([shownValue('a'), shownValue({ env: 'X' }), shownValue(null)]).toEqual(['a', '{"env":"X"}', '–']);
});

it('tells people of the same name apart by their addresses', () => {
  const ann = { id: 'user_1', name: 'Ann', email: 'ann@example.org' };
  expect(erasableLabel(ann)).toBe('Ann · ann@example.org');
  expect(erasableWord(ann)).toBe('ann@example.org');
  const claims = { id: 'proj_1', name: 'Claims ' };
  expect(erasableLabel(claims)).toBe('Claims ');
  expect(erasableWord(claims)).toBe('Claims');
});
