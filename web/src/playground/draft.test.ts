import { describe, expect, it } from 'vitest';

import { emptyDraft, message, requestOf, turned } from './draft';
import { PARAMETERS, read, write } from './parameters';
import { draftOf } from './reading';

const CHAT = {
  model: 'chat',
  messages: [
    { role: 'system', content: 'Be brief.' },
    {
      role: 'user',
      content: [
        { type: 'text', text: 'Look' },
        { type: 'image_url', image_url: { url: 'data:,x' } },
      ],
    },
    {
      role: 'assistant',
      content: null,
      tool_calls: [{ id: 'c1', type: 'function', function: { name: 'f', arguments: '{"a":1}' } }],
    },
    { role: 'tool', tool_call_id: 'c1', content: '42' },
    { role: 'user', content: 'Well?', name: 'ann' },
  ],
  temperature: 0.2,
  seed: -7,
  stop: ['\n\n', 'a\\b'],
  logit_bias: { '11': -100 },
  stream: true,
  stream_options: { include_usage: true, include_obfuscation: false },
  logprobs: true,
  top_logprobs: 5,
  tools: [
    { type: 'function', function: { name: 'f', description: 'd', parameters: { type: 'object' }, strict: true } },
  ],
  tool_choice: { type: 'function', function: { name: 'f' } },
  response_format: { type: 'json_schema', json_schema: { name: 'answer', strict: true, schema: { type: 'object' } } },
  something_new: { a: [1] },
};

const RESPONSE = {
  model: 'chat',
  input: [
    { role: 'user', content: 'Call f' },
    { type: 'function_call', call_id: 'c1', name: 'f', arguments: '{}' },
    { type: 'function_call_output', call_id: 'c1', output: 'done' },
    { type: 'item_reference', id: 'msg_1' },
  ],
  instructions: 'Two\nlines',
  include: ['message.output_text.logprobs'],
  reasoning: { effort: 'low', other: 1 },
  text: { format: { type: 'json_object' } },
  conversation: { id: 'conv_1' },
  tools: [{ type: 'image_generation', size: '64x64' }],
  tool_choice: 'required',
};

describe('a draft', () => {
  it.each([
    ['chat completion', CHAT],
    ['response', RESPONSE],
  ])('of a %s makes the same request', (_, body) => {
    const { body: made, problems } = requestOf(draftOf(body));
    expect(problems).toEqual({});
    expect(made).toEqual(body);
  });

  it('is sent to another model where that is asked', () => {
    expect(requestOf(emptyDraft('chat', 'a'), 'b').body.model).toBe('b');
  });

  it('keeps what both endpoints know when it changes over', () => {
    const response = turned(draftOf(CHAT), 'responses');
    const { body } = requestOf(response);
    expect(body).toMatchObject({
      temperature: 0.2,
      top_logprobs: 5,
      tools: [{ type: 'function', name: 'f', strict: true }],
      text: { format: { type: 'json_schema', name: 'answer' } },
    });
    expect(body).not.toHaveProperty('seed');
    expect(body).not.toHaveProperty('messages');
    expect(requestOf(turned(response, 'chat')).body).toMatchObject({ logprobs: true, top_logprobs: 5 });
  });

  it('tells what is wrong, by name', () => {
    const draft = emptyDraft('chat', 'chat');
    draft.values = { temperature: '3', seed: '1.5', logit_bias: '{"a": 1}', stop: 'a\nb\nc\nd\ne', metadata: '[' };
    draft.tools = [{ key: 1, type: 'function', name: 'no spaces', description: '', strict: false, json: '' }];
    draft.format = { type: 'json_schema', name: 'x', strict: true, schema: '' };
    const keys = Object.fromEntries(Object.entries(requestOf(draft).problems).map(([name, each]) => [name, each.key]));
    expect(keys).toEqual({
      temperature: 'range',
      seed: 'integer',
      logit_bias: 'bias',
      stop: 'lines',
      metadata: 'json',
      'tools.0': 'toolName',
      format: 'schemaMissing',
    });
  });

  it('asks a response with a plain text where there is only one', () => {
    const draft = { ...emptyDraft('responses', 'chat'), messages: [message('user', 'Hello')] };
    expect(requestOf(draft).body.input).toBe('Hello');
  });
});

describe.each(['chat', 'responses'] as const)('parameters of %s', (endpoint) => {
  it('have names of their own', () => {
    const names = PARAMETERS[endpoint].map((each) => each.name);
    expect(new Set(names).size).toBe(names.length);
  });

  it('are left out where nothing is typed', () => {
    for (const each of PARAMETERS[endpoint]) expect(read(each, ' '), each.name).toEqual({});
  });

  it('are read as they are written', () => {
    for (const each of PARAMETERS[endpoint]) {
      if (!each.otherwise) continue;
      const { value } = read(each, each.otherwise);
      expect(write(each, value), each.name).toBe(each.otherwise);
    }
  });
});
