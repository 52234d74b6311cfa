/**
 * A request as it stands in the page's editors, and as the API takes it.
 *
 * `requestOf` and `draftOf` are each other's inverse for what the editors know; what they do not know stays in `rest` as
 * it came.
 */
import { PARAMETERS, read, type Endpoint, type Parameter, type Problem } from './parameters';

export type Json = Record<string, unknown>;
export const ROLES = ['system', 'developer', 'user', 'assistant', 'tool'] as const;
export type Role = (typeof ROLES)[number];

/** A call of a function: its arguments are JSON text. */
export interface ToolCall {
  id: string;
  name: string;
  arguments: string;
}

export interface Message {
  /** For the page only. */
  key: number;
  role: Role;
  text: string;
  /** `data:` or `https:` addresses of pictures, for the user's messages. */
  pictures: string[];
  calls: ToolCall[];
  /** Which call a tool's message answers. */
  callId: string;
  /** A message or an item that the editor does not know, as it came; then the rest does not count. */
  raw?: Json;
}

/** A tool, as JSON text: of a function its schema, of all others the whole tool. */
export interface ToolDraft {
  key: number;
  type: 'function' | 'other';
  name: string;
  description: string;
  strict: boolean;
  json: string;
}

export interface Format {
  type: 'text' | 'json_object' | 'json_schema';
  name: string;
  strict: boolean;
  schema: string;
}

export interface Draft {
  endpoint: Endpoint;
  model: string;
  messages: Message[];
  /** Parameters as they were typed, by name. */
  values: Record<string, string>;
  tools: ToolDraft[];
  /** Empty, `none`, `auto`, `required`, or a choice as JSON text. */
  toolChoice: string;
  format: Format;
  rest: Json;
}

/** What the editors make together: the request's body, and what stands in its way. */
export interface Request {
  body: Json;
  /** By the parameter's name, `tools.0`, `format`. */
  problems: Record<string, Problem>;
}

let keys = 0;

export function nextKey(): number {
  return keys++;
}

export function message(role: Role, text = ''): Message {
  return { key: nextKey(), role, text, pictures: [], calls: [], callId: '' };
}

export function emptyDraft(endpoint: Endpoint = 'chat', model = ''): Draft {
  return {
    endpoint,
    model,
    messages: [message('user')],
    values: endpoint === 'chat' ? { stream: 'true', 'stream_options.include_usage': 'true' } : { stream: 'true' },
    tools: [],
    toolChoice: '',
    format: { type: 'text', name: 'answer', strict: true, schema: '' },
    rest: {},
  };
}

/** The draft for another endpoint, with all that both know. */
export function turned(draft: Draft, endpoint: Endpoint): Draft {
  if (draft.endpoint === endpoint) return draft;
  const values: Record<string, string> = {};
  for (const parameter of PARAMETERS[endpoint]) {
    const names = [parameter.name, TWINS[parameter.name] ?? ''];
    const found = names.map((name) => draft.values[name]).find((each) => each);
    if (found) values[parameter.name] = found;
  }
  if (endpoint === 'chat' && values.top_logprobs) values.logprobs = 'true';
  const toolChoice = draft.toolChoice.startsWith('{') ? '' : draft.toolChoice;
  return { ...draft, endpoint, values, toolChoice, rest: {} };
}

const TWINS: Record<string, string> = {
  max_output_tokens: 'max_completion_tokens',
  max_completion_tokens: 'max_output_tokens',
  reasoning_effort: 'reasoning.effort',
  'reasoning.effort': 'reasoning_effort',
};

/** The body of the request, and what is wrong with it. */
export function requestOf(draft: Draft, model = draft.model): Request {
  const problems: Record<string, Problem> = {};
  const body: Json = { model, ...draft.rest };
  if (draft.endpoint === 'chat') body.messages = draft.messages.map(chatMessage);
  else if (draft.messages.length > 0) body.input = inputOf(draft.messages);
  for (const parameter of PARAMETERS[draft.endpoint]) {
    const { value, problem } = read(parameter, draft.values[parameter.name] ?? '');
    if (problem) problems[parameter.name] = problem;
    else if (value !== undefined) put(body, parameter.name, value);
  }
  putTools(draft, body, problems);
  putFormat(draft, body, problems);
  return { body, problems };
}

function put(body: Json, name: string, value: unknown): void {
  const [first = '', second] = name.split('.');
  if (second === undefined) body[first] = value;
  else body[first] = { ...(body[first] as Json | undefined), [second]: value };
}

function chatMessage(each: Message): Json {
  if (each.raw) return each.raw;
  if (each.role === 'tool') return { role: 'tool', tool_call_id: each.callId, content: each.text };
  if (each.calls.length > 0) {
    return {
      role: each.role,
      content: each.text || null,
      tool_calls: each.calls.map((call) => ({
        id: call.id,
        type: 'function',
        function: { name: call.name, arguments: call.arguments },
      })),
    };
  }
  if (each.pictures.length === 0) return { role: each.role, content: each.text };
  return {
    role: each.role,
    content: [
      { type: 'text', text: each.text },
      ...each.pictures.map((url) => ({ type: 'image_url', image_url: { url } })),
    ],
  };
}

function inputOf(messages: Message[]): unknown {
  const only = messages[0];
  if (messages.length === 1 && only?.role === 'user' && !only.raw && only.pictures.length === 0) return only.text;
  return messages.flatMap(inputItems);
}

function inputItems(each: Message): Json[] {
  if (each.raw) return [each.raw];
  if (each.role === 'tool') return [{ type: 'function_call_output', call_id: each.callId, output: each.text }];
  const calls = each.calls.map((call) => ({
    type: 'function_call',
    call_id: call.id,
    name: call.name,
    arguments: call.arguments,
  }));
  if (each.pictures.length > 0) {
    const content = [
      { type: 'input_text', text: each.text },
      ...each.pictures.map((url) => ({ type: 'input_image', image_url: url })),
    ];
    return [{ role: each.role, content }, ...calls];
  }
  return each.text !== '' || calls.length === 0 ? [{ role: each.role, content: each.text }, ...calls] : calls;
}

function putTools(draft: Draft, body: Json, problems: Record<string, Problem>): void {
  if (draft.tools.length > 0) {
    body.tools = draft.tools.map((tool, place) => {
      const made = toolOf(tool, draft.endpoint);
      if (made.problem) problems[`tools.${place}`] = made.problem;
      return made.value;
    });
  }
  if (draft.toolChoice.startsWith('{')) {
    try {
      body.tool_choice = JSON.parse(draft.toolChoice);
    } catch {
      problems.tool_choice = { key: 'json' };
    }
  } else if (draft.toolChoice) body.tool_choice = draft.toolChoice;
}

function toolOf(tool: ToolDraft, endpoint: Endpoint): { value: unknown; problem?: Problem } {
  const { value, problem } = parsed(tool.json);
  if (problem) return { value: null, problem };
  if (tool.type === 'other') return { value };
  const named = /^[a-zA-Z0-9_-]{1,64}$/.test(tool.name);
  const made: Json = { name: tool.name };
  if (tool.description) made.description = tool.description;
  if (value !== undefined) made.parameters = value;
  if (tool.strict) made.strict = true;
  return {
    value: endpoint === 'chat' ? { type: 'function', function: made } : { type: 'function', ...made },
    ...(named ? {} : { problem: { key: 'toolName' } }),
  };
}

function putFormat(draft: Draft, body: Json, problems: Record<string, Problem>): void {
  const { type, name, strict, schema } = draft.format;
  if (type === 'text') return;
  let format: Json = { type };
  if (type === 'json_schema') {
    const { value, problem } = parsed(schema);
    if (problem) problems.format = problem;
    else if (value === undefined) problems.format = { key: 'schemaMissing' };
    else if (!/^[a-zA-Z0-9_-]{1,64}$/.test(name)) problems.format = { key: 'toolName' };
    const inner = { name, strict, schema: value ?? {} };
    format = draft.endpoint === 'chat' ? { type, json_schema: inner } : { type, ...inner };
  }
  if (draft.endpoint === 'chat') body.response_format = format;
  else body.text = { ...(body.text as Json | undefined), format };
}

function parsed(text: string): { value?: unknown; problem?: Problem } {
  if (text.trim() === '') return {};
  try {
    const value: unknown = JSON.parse(text);
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isObject ? { value } : { problem: { key: 'object' } };
  } catch {
    return { problem: { key: 'json' } };
  }
}

/** A parameter's place in a body, whose value the editors then show. */
export function taken(body: Json, parameter: Parameter): unknown {
  const [first = '', second] = parameter.name.split('.');
  if (second === undefined) return body[first];
  const outer = body[first];
  return typeof outer === 'object' && outer !== null ? (outer as Json)[second] : undefined;
}
