import { expect, it } from 'vitest';

import { newAnswer, take } from './live';
import type { Answer, StreamEvent } from './types';

const event = (type: string, more: Partial<StreamEvent>, sequence_number = 1): StreamEvent => ({
  type,
  sequence_number,
  ...more,
});

it('an answer grows by its events and ends with the response', () => {
  const answer = newAnswer();
  const response = { id: 'resp_1', status: 'in_progress', output: [], error: null, incomplete_details: null };
  take(answer, event('response.in_progress', { response: response as unknown as Answer }, 0));
  take(answer, event('response.output_item.added', { output_index: 0, item: { id: 'r', type: 'reasoning' } }));
  take(answer, event('response.reasoning_text.delta', { item_id: 'r', delta: 'Hm' }));
  take(
    answer,
    event('response.output_item.added', { output_index: 1, item: { id: 'm', type: 'message', content: [] } }),
  );
  take(answer, event('response.output_text.delta', { item_id: 'm', delta: 'Good ' }));
  take(answer, event('response.output_text.delta', { item_id: 'm', delta: 'day' }, 5));
  expect(answer).toMatchObject({ id: 'resp_1', status: 'in_progress', seen: 5 });
  expect(answer.items.map((each) => each.content)).toEqual([
    [{ type: 'reasoning_text', text: 'Hm' }],
    [{ type: 'output_text', text: 'Good day' }],
  ]);
  const done = { ...response, status: 'incomplete', incomplete_details: { reason: 'content_filter' } };
  take(answer, event('response.incomplete', { response: done as unknown as Answer }, 6));
  expect(answer).toMatchObject({ status: 'incomplete', reason: 'content_filter', items: [] });
});

it('a picture is there in part before it is whole', () => {
  const answer = newAnswer();
  const item = { id: 'p', type: 'image_generation_call', status: 'in_progress' };
  take(answer, event('response.output_item.added', { output_index: 0, item }));
  take(answer, event('response.image_generation_call.partial_image', { item_id: 'p', partial_image_b64: 'AA' }));
  expect(answer.partial).toEqual({ p: 'AA' });
  take(answer, event('response.output_item.done', { output_index: 0, item: { ...item, result: 'BB' } }));
  expect(answer.partial).toEqual({});
  expect(answer.items[0]?.result).toBe('BB');
});

it('an error of the connection changes nothing', () => {
  const answer = newAnswer();
  take(answer, event('error', { code: 'timeout' }, 9));
  expect(answer).toEqual(newAnswer());
});
