/** What came back, put together from a whole body or from the events of a stream, of either endpoint. */
import type { Json, ToolCall } from './draft';

/** One token with its log probability, and the likeliest at its place. */
export interface Token {
  token: string;
  logprob: number;
  top: { token: string; logprob: number }[];
}

export interface Choice {
  text: string;
  reasoning: string;
  refusal: string;
  calls: ToolCall[];
  tokens: Token[];
  /** Items of tools that the service carried out itself, as they came. */
  items: Json[];
  finish: string | null;
}

export interface Usage {
  input: number;
  cached: number;
  output: number;
  reasoning: number;
}

export interface Answer {
  id: string;
  choices: Choice[];
  usage: Usage | null;
  /** What a stream ended with that failed on its way, in the service's words. */
  failure: string | null;
}

export function emptyAnswer(): Answer {
  return { id: '', choices: [], usage: null, failure: null };
}

/** A copy that shows that it is another one; what is deeper is shared. */
export function snapshot(answer: Answer): Answer {
  return { ...answer, choices: answer.choices.map((choice) => ({ ...choice })) };
}

function choiceAt(answer: Answer, place: number): Choice {
  while (answer.choices.length <= place) {
    answer.choices.push({ text: '', reasoning: '', refusal: '', calls: [], tokens: [], items: [], finish: null });
  }
  return answer.choices[place] as Choice;
}

/** Add a chunk of a chat completion's stream; whether it brought anything that was generated. */
export function addChunk(answer: Answer, chunk: Json): boolean {
  if (chunk.error) {
    answer.failure = text((chunk.error as Json).message);
    return false;
  }
  answer.id = text(chunk.id) || answer.id;
  if (chunk.usage) answer.usage = chatUsage(chunk.usage as Json);
  let brought = false;
  for (const given of list(chunk.choices)) {
    const choice = choiceAt(answer, Number(given.index ?? 0));
    if (addMessage(choice, (given.delta ?? {}) as Json, true)) brought = true;
    addTokens(choice, (given.logprobs as Json | null)?.content);
    choice.finish = typeof given.finish_reason === 'string' ? given.finish_reason : choice.finish;
  }
  return brought;
}

/** A whole chat completion. */
export function chatAnswer(body: Json): Answer {
  const answer = emptyAnswer();
  answer.id = text(body.id);
  if (body.usage) answer.usage = chatUsage(body.usage as Json);
  for (const given of list(body.choices)) {
    const choice = choiceAt(answer, Number(given.index ?? 0));
    addMessage(choice, (given.message ?? {}) as Json, false);
    addTokens(choice, (given.logprobs as Json | null)?.content);
    choice.finish = typeof given.finish_reason === 'string' ? given.finish_reason : null;
  }
  return answer;
}

function addMessage(choice: Choice, part: Json, streamed: boolean): boolean {
  choice.text += text(part.content);
  choice.refusal += text(part.refusal);
  choice.reasoning += text(part.reasoning_content) || text(part.reasoning);
  const calls = list(part.tool_calls);
  calls.forEach((given, place) => addCall(choice, given, streamed ? Number(given.index ?? place) : place));
  if (part.function_call) addCall(choice, { id: '', function: part.function_call }, 0);
  return Boolean(part.content || part.refusal || part.reasoning_content || part.reasoning || calls.length > 0);
}

function addCall(choice: Choice, given: Json, place: number): void {
  while (choice.calls.length <= place) choice.calls.push({ id: '', name: '', arguments: '' });
  const call = choice.calls[place] as ToolCall;
  const called = (given.function ?? {}) as Json;
  call.id = text(given.id) || call.id;
  call.name += text(called.name);
  call.arguments += text(called.arguments);
}

function addTokens(choice: Choice, given: unknown): void {
  for (const each of list(given)) {
    choice.tokens.push({
      token: text(each.token),
      logprob: Number(each.logprob),
      top: list(each.top_logprobs).map((other) => ({ token: text(other.token), logprob: Number(other.logprob) })),
    });
  }
}

function chatUsage(usage: Json): Usage {
  const input = (usage.prompt_tokens_details ?? {}) as Json;
  const output = (usage.completion_tokens_details ?? {}) as Json;
  return {
    input: Number(usage.prompt_tokens ?? 0),
    cached: Number(input.cached_tokens ?? 0),
    output: Number(usage.completion_tokens ?? 0),
    reasoning: Number(output.reasoning_tokens ?? 0),
  };
}

/** Add an event of a response's stream; whether it brought anything that was generated. */
export function addEvent(answer: Answer, event: Json): boolean {
  const choice = choiceAt(answer, 0);
  const delta = text(event.delta);
  switch (event.type) {
    case 'response.output_text.delta':
      choice.text += delta;
      addTokens(choice, event.logprobs);
      return true;
    case 'response.refusal.delta':
      choice.refusal += delta;
      return true;
    case 'response.reasoning_text.delta':
    case 'response.reasoning_summary_text.delta':
      choice.reasoning += delta;
      return true;
    case 'response.output_item.added':
      if ((event.item as Json).type === 'function_call') choice.calls.push(callOf(event.item as Json));
      return true;
    case 'response.function_call_arguments.delta': {
      const call = choice.calls.at(-1);
      if (call) call.arguments += delta;
      return true;
    }
    case 'response.completed':
    case 'response.incomplete':
    case 'response.failed':
    case 'response.created':
      Object.assign(answer, responseAnswer(event.response as Json, choice));
      return false;
    case 'error':
      answer.failure = text(event.message) || text((event.error as Json | undefined)?.message);
      return false;
    default:
      return false;
  }
}

/** A whole response. While it is being made its output is not told, so what has come so far stays. */
export function responseAnswer(body: Json, before?: Choice): Answer {
  const answer = emptyAnswer();
  const choice = choiceAt(answer, 0);
  answer.id = text(body.id);
  for (const item of list(body.output)) addItem(choice, item);
  if (before && list(body.output).length === 0) Object.assign(choice, before);
  const usage = body.usage as Json | null | undefined;
  if (usage) {
    answer.usage = {
      input: Number(usage.input_tokens ?? 0),
      cached: Number((usage.input_tokens_details as Json | undefined)?.cached_tokens ?? 0),
      output: Number(usage.output_tokens ?? 0),
      reasoning: Number((usage.output_tokens_details as Json | undefined)?.reasoning_tokens ?? 0),
    };
  }
  answer.failure = text((body.error as Json | null | undefined)?.message) || null;
  const why = text((body.incomplete_details as Json | null | undefined)?.reason);
  choice.finish = why || (body.status === 'in_progress' ? null : text(body.status)) || null;
  return answer;
}

function addItem(choice: Choice, item: Json): void {
  if (item.type === 'message') {
    for (const part of list(item.content)) {
      choice.text += text(part.text);
      choice.refusal += text(part.refusal);
      addTokens(choice, part.logprobs);
    }
  } else if (item.type === 'function_call') choice.calls.push(callOf(item));
  else if (item.type === 'reasoning') {
    for (const part of [...list(item.content), ...list(item.summary)]) choice.reasoning += text(part.text);
  } else choice.items.push(item);
}

function callOf(item: Json): ToolCall {
  return { id: text(item.call_id), name: text(item.name), arguments: text(item.arguments) };
}

function list(value: unknown): Json[] {
  return Array.isArray(value) ? (value as Json[]) : [];
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
