import { expect, it } from 'vitest';

import { settingsOf, withSettings, withValues } from './metadata';
import { PLAIN } from './types';

it('settings come back as they were put, long instructions too, within what metadata take', () => {
  const settings = { instructions: 'Be brief. '.repeat(200), temperature: 0.2, topP: null, maxTokens: 64 };
  const metadata = withSettings({ title: 'Tea', instructions_3: 'old' }, settings);
  expect(settingsOf(metadata)).toEqual(settings);
  expect(Object.values(metadata).every((each) => each.length <= 512)).toBe(true);
  expect(withSettings(metadata, PLAIN)).toEqual({ title: 'Tea' });
});

it('nothing is cut within an emoji', () => {
  const settings = { ...PLAIN, instructions: 'x'.repeat(511) + '🍵' + 'y'.repeat(20) };
  const metadata = withSettings({}, settings);
  expect(metadata.instructions_0?.endsWith('x🍵')).toBe(true);
  expect(settingsOf(metadata)).toEqual(settings);
  expect(withValues({}, { title: 'x'.repeat(511) + '🍵🍵' })).toEqual({ title: 'x'.repeat(511) + '🍵' });
});

it('settings that nobody can read are none', () => {
  expect(settingsOf({ settings: '{' })).toEqual(PLAIN);
});

it('values are put, cut and taken away', () => {
  expect(withValues({ a: '1', b: '2' }, { b: null, c: 'x'.repeat(600) })).toEqual({ a: '1', c: 'x'.repeat(512) });
});
