import { expect, it } from 'vitest';

import { actionOf, factOf, type Finding, type Origin, sourceOf, toneOf, verdictOf, whenOf } from './provenance';

const ORIGIN: Origin = {
  generator: 'Freehold 0.1.0',
  title: null,
  signed_by: { organization: null, name: null, serial: null, expected: true },
  actions: [
    {
      action: 'c2pa.opened',
      when: '2026-11-28T07:00:00Z',
      agent: null,
      agent_version: null,
      digital_source_type: null,
    },
    {
      action: 'c2pa.edited',
      when: '2026-11-28T08:00:00Z',
      agent: null,
      agent_version: null,
      digital_source_type: null,
    },
    { action: 'c2pa.edited', when: 'never', agent: null, agent_version: null, digital_source_type: null },
  ],
  picture: { seed: 7, request_id: 'req_1', odd: {} },
  made_from: [],
};

function finding(state: Finding['state'], expected: boolean | null): Finding {
  const origin = { ...ORIGIN, signed_by: { ...ORIGIN.signed_by, expected } };
  const rest = { format: 'png', convincing: true, signature_valid: true, unchanged: true, problems: [] };
  return { ...rest, state, origin, iptc_digital_source_type: null };
}

it.each([
  ['intact', true, 'ours', 'good'],
  ['intact', false, 'others', 'warning'],
  ['intact', null, 'unknownSigner', 'warning'],
  ['changed', true, 'changed', 'danger'],
  ['none', null, 'none', 'plain'],
] as const)('%s, expected %s: %s', (state, expected, verdict, tone) => {
  expect(verdictOf(finding(state, expected))).toBe(verdict);
  expect(toneOf(verdict)).toBe(tone);
});

it('knows actions and sources by their short names', () => {
  expect(actionOf('c2pa.edited')).toBe('edited');
  expect(actionOf('c2pa.dubbed')).toBeNull();
  const base = 'http://cv.iptc.org/newscodes/digitalsourcetype/';
  expect(sourceOf(`${base}trainedAlgorithmicMedia`)).toBe('trained');
  expect(sourceOf(`${base}compositeWithTrainedAlgorithmicMedia`)).toBe('composite');
  expect(sourceOf(null)).toBeNull();
});

it('tells the newest moment, and facts as text', () => {
  expect(whenOf(ORIGIN)).toBe(Date.UTC(2026, 10, 28, 8) / 1000);
  expect(whenOf({ ...ORIGIN, actions: [] })).toBeNull();
  expect([factOf(ORIGIN, 'seed'), factOf(ORIGIN, 'odd'), factOf(ORIGIN, 'none')]).toEqual(['7', '', '']);
});
