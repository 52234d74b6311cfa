import { describe, expect, it } from 'vitest';

import words from '../messages/en/playground.json';
import { GROUPS, PARAMETERS } from './parameters';
import { TEMPLATES } from './schema';

function found(path: string): unknown {
  return path.split('.').reduce<unknown>((at, part) => (at as Record<string, unknown> | undefined)?.[part], words);
}

describe('the words', () => {
  it.each([...PARAMETERS.chat, ...PARAMETERS.responses].map((each) => each.name))('explain %s', (name) => {
    expect(found(`p.${name}`)).toBeTypeOf('string');
  });

  it('name every group and template', () => {
    for (const name of GROUPS) expect(found(`group.${name}`), name).toBeTypeOf('string');
    for (const name of Object.keys(TEMPLATES)) expect(found(`template.${name}`), name).toBeTypeOf('string');
  });
});
