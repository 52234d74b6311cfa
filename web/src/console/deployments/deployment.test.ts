import { describe, expect, it } from 'vitest';

import { ApiError } from '../../lib/api';
import { draftOf, fieldOf, loadedShare, moving, settingsOf, type Deployment, type Replica } from './deployment';

describe('settingsOf', () => {
  it('says what a new deployment is, and leaves out what is not filled in', () => {
    const draft = { ...draftOf(), name: ' tea ', model: 'echo', engine: 'echo', price_input: '0.15' };
    expect(settingsOf(draft)).toEqual({
      name: 'tea',
      model: 'echo',
      engine: 'echo',
      task: 'chat',
      start: 'eager',
      replicas: 1,
      content_filter: 'default',
      upgrade: 'never',
      price: { input: '0.15' },
    });
  });

  it('changes nothing where nothing is changed', () => {
    const settings = {
      name: 'tea',
      model: 'm',
      engine: 'llamacpp',
      task: 'chat',
      start: 'eager',
      upgrade: 'never',
      content_filter: 'default',
      replicas: 2,
      aliases: ['a', 'b'],
      options: { gpu: true },
      defaults: { temperature: 0.2 },
      price: [
        { from: '2026-01-01', input: '1' },
        { from: '2026-06-01', input: '2' },
      ],
      api_key: { file: '/etc/key' },
    };
    expect(settingsOf(draftOf(settings), settings)).toEqual(settings);
  });

  it('sends what is no number as it was written', () => {
    expect(settingsOf({ ...draftOf(), replicas: 'two' }).replicas).toBe('two');
  });

  it('keeps the day from which the only price holds', () => {
    const settings = { name: 'a', model: 'b', price: [{ from: '2026-01-01', input: '1' }] };
    expect(settingsOf(draftOf(settings), settings).price).toEqual({ from: '2026-01-01', input: '1' });
  });
});

describe('fieldOf', () => {
  const error = (param: string | null, message = 'wrong') => new ApiError(400, message, null, param);

  it('finds the field of an error', () => {
    expect(fieldOf(error('replicas'))).toBe('replicas');
    expect(fieldOf(error('price[0].output'))).toBe('price_output');
    expect(fieldOf(error('aliases[1]'))).toBe('aliases');
    expect(fieldOf(error(null, 'engine: there is no engine of that name'))).toBe('engine');
  });

  it('finds none where it is about none', () => {
    expect(fieldOf(error(null))).toBeNull();
    expect(fieldOf(new Error('engine: no'))).toBeNull();
  });
});

it('reads how far a replica is from what it says', () => {
  const replica = (progress: string | null) => ({ progress }) as Replica;
  expect(loadedShare(replica('downloading 35 %'))).toBe(0.35);
  expect(loadedShare(replica(null))).toBeNull();
});

it('looks again soon while something starts', () => {
  const deployment = { state: 'ready', replicas: [{ state: 'starting' }] } as Deployment;
  expect(moving(deployment)).toBe(true);
  expect(moving({ ...deployment, replicas: [] })).toBe(false);
});
