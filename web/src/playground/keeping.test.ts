import { describe, expect, it } from 'vitest';

import { requestOf } from './draft';
import { draftFrom, fromHash, kept, toHash } from './keeping';
import { draftOf } from './reading';

const BODY = { model: 'chat', messages: [{ role: 'user', content: 'Grüße 🦉 & <b>' }], seed: 7 };

describe('a kept request', () => {
  it('goes into a link and comes back', () => {
    const hash = toHash(draftOf(BODY));
    expect(hash).toMatch(/^#r=[\w-]+$/);
    const found = fromHash(hash);
    expect(found && requestOf(found).body).toEqual(BODY);
  });

  it('is read with or without its endpoint', () => {
    const response = { model: 'chat', instructions: 'x' };
    expect(draftFrom(kept(draftOf(BODY))).endpoint).toBe('chat');
    expect(draftFrom(BODY).endpoint).toBe('chat');
    expect(draftFrom({ endpoint: 'responses', body: response }).endpoint).toBe('responses');
    expect(draftFrom(response).endpoint).toBe('responses');
  });

  it.each([null, 3, [], {}, { endpoint: 'chat', body: {} }, { messages: 'no' }])('is not %j', (value) => {
    expect(() => draftFrom(value)).toThrow();
  });

  it.each(['', '#r=', '#r=!!', '#r=bm8', '#other'])('is not in %j', (hash) => {
    expect(fromHash(hash)).toBeNull();
  });
});
