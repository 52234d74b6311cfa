import { describe, expect, it } from 'vitest';

import { addChunk, addEvent, chatAnswer, emptyAnswer, responseAnswer } from './answer';

const logprobs = { content: [{ token: 'Hi', logprob: -0.1, top_logprobs: [{ token: 'Hi', logprob: -0.1 }] }] };

describe('a chat completion', () => {
  it('is the same in pieces and whole', () => {
    const pieces = emptyAnswer();
    const brought = [
      addChunk(pieces, { id: 'c', choices: [{ index: 0, delta: { role: 'assistant', content: '' } }] }),
      addChunk(pieces, { choices: [{ index: 0, delta: { content: 'Hi' }, logprobs }] }),
      addChunk(pieces, {
        choices: [
          { index: 0, delta: { tool_calls: [{ index: 0, id: 'x', function: { name: 'f', arguments: '{' } }] } },
        ],
      }),
      addChunk(pieces, {
        choices: [{ index: 0, delta: { tool_calls: [{ index: 0, function: { arguments: '}' } }] } }],
      }),
      addChunk(pieces, { choices: [{ index: 0, delta: {}, finish_reason: 'tool_calls' }] }),
      addChunk(pieces, { choices: [], usage: { prompt_tokens: 2, completion_tokens: 3 } }),
    ];
    const whole = chatAnswer({
      id: 'c',
      choices: [
        {
          index: 0,
          message: { content: 'Hi', tool_calls: [{ id: 'x', function: { name: 'f', arguments: '{}' } }] },
          logprobs,
          finish_reason: 'tool_calls',
        },
      ],
      usage: { prompt_tokens: 2, completion_tokens: 3 },
    });
    expect(pieces).toEqual(whole);
    expect(brought).toEqual([false, true, true, true, false, false]);
    expect(whole.choices[0]?.calls).toEqual([{ id: 'x', name: 'f', arguments: '{}' }]);
    expect(whole.usage).toEqual({ input: 2, cached: 0, output: 3, reasoning: 0 });
  });

  it('keeps choices apart and tells a failure on the way', () => {
    const answer = emptyAnswer();
    addChunk(answer, { choices: [{ index: 1, delta: { content: 'b' } }] });
    addChunk(answer, { choices: [{ index: 0, delta: { content: 'a' } }] });
    addChunk(answer, { error: { message: 'The engine has died.' } });
    expect(answer.choices.map((each) => each.text)).toEqual(['a', 'b']);
    expect(answer.failure).toBe('The engine has died.');
  });
});

describe('a response', () => {
  const done = {
    id: 'r',
    status: 'completed',
    output: [
      { type: 'reasoning', content: [{ type: 'reasoning_text', text: 'Hm.' }] },
      { type: 'message', content: [{ type: 'output_text', text: 'Hi', logprobs: logprobs.content }] },
      { type: 'function_call', call_id: 'x', name: 'f', arguments: '{}' },
      { type: 'image_generation_call', id: 'ig' },
    ],
    usage: { input_tokens: 1, output_tokens: 2 },
  };

  it('has what its items have', () => {
    const answer = responseAnswer(done);
    expect(answer.choices[0]).toMatchObject({
      text: 'Hi',
      reasoning: 'Hm.',
      calls: [{ id: 'x', name: 'f', arguments: '{}' }],
      items: [{ id: 'ig' }],
      finish: 'completed',
    });
  });

  it('grows by its events and ends as the whole one', () => {
    const answer = emptyAnswer();
    addEvent(answer, { type: 'response.created', response: { id: 'r', status: 'in_progress', output: [] } });
    expect(addEvent(answer, { type: 'response.output_text.delta', delta: 'H' })).toBe(true);
    expect(answer.choices[0]).toMatchObject({ text: 'H', finish: null });
    addEvent(answer, {
      type: 'response.output_item.added',
      item: { type: 'function_call', call_id: 'x', name: 'f', arguments: '' },
    });
    addEvent(answer, { type: 'response.function_call_arguments.delta', delta: '{}' });
    expect(answer.choices[0]?.calls[0]?.arguments).toBe('{}');
    addEvent(answer, { type: 'response.completed', response: done });
    expect(answer).toEqual(responseAnswer(done));
  });

  it('keeps what it said when it fails', () => {
    const answer = emptyAnswer();
    addEvent(answer, { type: 'response.output_text.delta', delta: 'Half' });
    addEvent(answer, {
      type: 'response.failed',
      response: { id: 'r', status: 'failed', output: [], error: { message: 'No.' } },
    });
    expect(answer.choices[0]?.text).toBe('Half');
    expect(answer.failure).toBe('No.');
  });
});
