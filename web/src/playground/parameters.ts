/**
 * Every parameter that the API knows of a request, and how it is written: as text in a field, checked as it is typed.
 *
 * Their explanations are the words `playground:p.NAME`. Messages, tools, `tool_choice` and the format of the answer have
 * editors of their own.
 */
export type Endpoint = 'chat' | 'responses';

export const PATHS: Record<Endpoint, string> = { chat: '/v1/chat/completions', responses: '/v1/responses' };

export const GROUPS = ['sampling', 'length', 'output', 'tools', 'context', 'request', 'old', 'unserved'] as const;
export type Group = (typeof GROUPS)[number];

export type Kind =
  | { kind: 'number'; min: number; max: number; step: number }
  | { kind: 'integer'; min: number; max: number }
  | { kind: 'switch' }
  | { kind: 'choice'; choices: readonly string[] }
  | { kind: 'text'; long?: boolean; most?: number }
  /** One value a line. `\n` and `\t` in a line stand for a line end and a tab where `escapes` is set. */
  | { kind: 'lines'; most: number; choices?: readonly string[]; escapes?: boolean }
  | { kind: 'json'; of: 'object' | 'list' | 'any'; check?: 'bias' | 'metadata' };

export type Parameter = Kind & {
  /** As in the API; what lies in an object with the object's name before it: `stream_options.include_usage`. */
  name: string;
  group: Group;
  /** What holds without it, as it would be written; empty where nothing would. */
  otherwise?: string;
  /** What a deployment has to be able to do for it (`features` of the models' details). */
  feature?: string;
};

const LARGEST = Number.MAX_SAFE_INTEGER;
const TIERS = ['auto', 'default', 'flex', 'scale', 'priority', 'fast'];
const EFFORTS = ['none', 'minimal', 'low', 'medium', 'high', 'xhigh'];
const LEVELS = ['low', 'medium', 'high'];
const CACHE = ['in_memory', '24h'];
const INCLUDE = [
  'message.output_text.logprobs',
  'message.input_image.image_url',
  'reasoning.encrypted_content',
  'file_search_call.results',
  'web_search_call.results',
  'web_search_call.action.sources',
  'computer_call_output.output.image_url',
  'code_interpreter_call.outputs',
];

const SAMPLING: Parameter[] = [
  { name: 'temperature', group: 'sampling', kind: 'number', min: 0, max: 2, step: 0.1, otherwise: '1' },
  { name: 'top_p', group: 'sampling', kind: 'number', min: 0, max: 1, step: 0.05, otherwise: '1' },
];
const REQUEST: Parameter[] = [
  { name: 'metadata', group: 'request', kind: 'json', of: 'object', check: 'metadata' },
  { name: 'user', group: 'request', kind: 'text' },
  { name: 'safety_identifier', group: 'request', kind: 'text', most: 64 },
  { name: 'service_tier', group: 'request', kind: 'choice', choices: TIERS, otherwise: 'auto' },
  { name: 'prompt_cache_key', group: 'request', kind: 'text' },
  { name: 'prompt_cache_retention', group: 'request', kind: 'choice', choices: CACHE, otherwise: 'in_memory' },
];

const CHAT: Parameter[] = [
  ...SAMPLING,
  {
    name: 'frequency_penalty',
    group: 'sampling',
    kind: 'number',
    min: -2,
    max: 2,
    step: 0.1,
    otherwise: '0',
    feature: 'penalties',
  },
  {
    name: 'presence_penalty',
    group: 'sampling',
    kind: 'number',
    min: -2,
    max: 2,
    step: 0.1,
    otherwise: '0',
    feature: 'penalties',
  },
  { name: 'seed', group: 'sampling', kind: 'integer', min: -LARGEST, max: LARGEST, feature: 'seed' },
  { name: 'logit_bias', group: 'sampling', kind: 'json', of: 'object', check: 'bias', feature: 'logit_bias' },
  { name: 'max_completion_tokens', group: 'length', kind: 'integer', min: 1, max: LARGEST },
  { name: 'stop', group: 'length', kind: 'lines', most: 4, escapes: true, feature: 'stop' },
  { name: 'n', group: 'length', kind: 'integer', min: 1, max: 128, otherwise: '1' },
  { name: 'stream', group: 'output', kind: 'switch', otherwise: 'false' },
  { name: 'stream_options.include_usage', group: 'output', kind: 'switch', otherwise: 'false' },
  { name: 'stream_options.include_obfuscation', group: 'output', kind: 'switch', otherwise: 'false' },
  { name: 'logprobs', group: 'output', kind: 'switch', otherwise: 'false', feature: 'logprobs' },
  { name: 'top_logprobs', group: 'output', kind: 'integer', min: 0, max: 20, otherwise: '0', feature: 'logprobs' },
  { name: 'reasoning_effort', group: 'output', kind: 'choice', choices: EFFORTS, feature: 'reasoning' },
  { name: 'modalities', group: 'output', kind: 'lines', most: 2, choices: ['text', 'audio'], otherwise: 'text' },
  { name: 'parallel_tool_calls', group: 'tools', kind: 'switch', otherwise: 'true', feature: 'tools' },
  { name: 'store', group: 'request', kind: 'switch', otherwise: 'false' },
  ...REQUEST,
  { name: 'max_tokens', group: 'old', kind: 'integer', min: 1, max: LARGEST },
  { name: 'functions', group: 'old', kind: 'json', of: 'list', feature: 'tools' },
  { name: 'function_call', group: 'old', kind: 'json', of: 'any', feature: 'tools' },
  { name: 'verbosity', group: 'unserved', kind: 'choice', choices: LEVELS },
  { name: 'audio', group: 'unserved', kind: 'json', of: 'object' },
  { name: 'prediction', group: 'unserved', kind: 'json', of: 'object' },
  { name: 'web_search_options', group: 'unserved', kind: 'json', of: 'object' },
  { name: 'moderation', group: 'unserved', kind: 'json', of: 'object' },
  { name: 'prompt_cache_options', group: 'unserved', kind: 'json', of: 'object' },
];

const RESPONSES: Parameter[] = [
  ...SAMPLING,
  { name: 'max_output_tokens', group: 'length', kind: 'integer', min: 16, max: LARGEST },
  { name: 'truncation', group: 'length', kind: 'choice', choices: ['disabled', 'auto'], otherwise: 'disabled' },
  { name: 'stream', group: 'output', kind: 'switch', otherwise: 'false' },
  { name: 'stream_options.include_obfuscation', group: 'output', kind: 'switch', otherwise: 'false' },
  { name: 'top_logprobs', group: 'output', kind: 'integer', min: 0, max: 20, otherwise: '0', feature: 'logprobs' },
  { name: 'include', group: 'output', kind: 'lines', most: 8, choices: INCLUDE },
  { name: 'reasoning.effort', group: 'output', kind: 'choice', choices: EFFORTS, feature: 'reasoning' },
  {
    name: 'reasoning.summary',
    group: 'output',
    kind: 'choice',
    choices: ['auto', 'concise', 'detailed'],
    feature: 'reasoning',
  },
  { name: 'reasoning.mode', group: 'output', kind: 'text', feature: 'reasoning' },
  {
    name: 'reasoning.context',
    group: 'output',
    kind: 'choice',
    choices: ['auto', 'current_turn', 'all_turns'],
    feature: 'reasoning',
  },
  { name: 'parallel_tool_calls', group: 'tools', kind: 'switch', otherwise: 'true', feature: 'tools' },
  { name: 'max_tool_calls', group: 'tools', kind: 'integer', min: 1, max: LARGEST, otherwise: '128' },
  { name: 'instructions', group: 'context', kind: 'text', long: true },
  { name: 'previous_response_id', group: 'context', kind: 'text' },
  { name: 'conversation', group: 'context', kind: 'text' },
  { name: 'store', group: 'context', kind: 'switch', otherwise: 'true' },
  { name: 'background', group: 'context', kind: 'switch', otherwise: 'false' },
  ...REQUEST,
  {
    name: 'reasoning.generate_summary',
    group: 'old',
    kind: 'choice',
    choices: ['auto', 'concise', 'detailed'],
    feature: 'reasoning',
  },
  { name: 'text.verbosity', group: 'unserved', kind: 'choice', choices: LEVELS },
  { name: 'prompt', group: 'unserved', kind: 'json', of: 'object' },
  { name: 'moderation', group: 'unserved', kind: 'json', of: 'object' },
  { name: 'context_management', group: 'unserved', kind: 'json', of: 'list' },
  { name: 'prompt_cache_options', group: 'unserved', kind: 'json', of: 'object' },
];

export const PARAMETERS: Record<Endpoint, readonly Parameter[]> = { chat: CHAT, responses: RESPONSES };

/** What is wrong with what was typed: the key of a message `playground:wrong.…` with its values. */
export interface Problem {
  key: string;
  values?: Record<string, unknown>;
}

export type Read = { value?: unknown; problem?: undefined } | { problem: Problem; value?: undefined };

/** What was typed as a value of the request; no value for nothing. */
export function read(parameter: Parameter, text: string): Read {
  if (text.trim() === '') return {};
  switch (parameter.kind) {
    case 'number':
    case 'integer':
      return readNumber(parameter, text.trim());
    case 'switch':
      return { value: text === 'true' };
    case 'choice':
      return { value: text };
    case 'text':
      return parameter.most !== undefined && text.length > parameter.most
        ? { problem: { key: 'long', values: { count: parameter.most } } }
        : { value: text };
    case 'lines':
      return readLines(parameter, text);
    case 'json':
      return readJson(parameter, text);
  }
}

/** A value of a request as it would be typed. */
export function write(parameter: Parameter, value: unknown): string {
  if (value === undefined || value === null) return '';
  if (parameter.kind === 'json') return JSON.stringify(value, null, 2);
  if (parameter.kind === 'lines') {
    const lines = (Array.isArray(value) ? value : [value]).map(String);
    return lines.map((line) => (parameter.escapes ? escaped(line) : line)).join('\n');
  }
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

function readNumber(parameter: Parameter & { min: number; max: number }, text: string): Read {
  const value = Number(text);
  const whole = parameter.kind === 'integer';
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) || (whole && !Number.isInteger(value))) {
    return { problem: { key: whole ? 'integer' : 'number' } };
  }
  if (value < parameter.min || value > parameter.max) {
    const open = parameter.max === LARGEST && parameter.min !== -LARGEST;
    return { problem: { key: open ? 'least' : 'range', values: { min: parameter.min, max: parameter.max } } };
  }
  return { value };
}

function readLines(parameter: Parameter & { kind: 'lines' }, text: string): Read {
  const lines = text.split('\n').filter((line) => line !== '');
  if (lines.length > parameter.most) return { problem: { key: 'lines', values: { count: parameter.most } } };
  const strange = lines.find((line) => parameter.choices && !parameter.choices.includes(line));
  if (strange !== undefined) return { problem: { key: 'choice', values: { value: strange } } };
  return { value: parameter.escapes ? lines.map(unescaped) : lines };
}

const ESCAPES: Record<string, string> = { '\\n': '\n', '\\t': '\t', '\\\\': '\\' };

function unescaped(line: string): string {
  return line.replaceAll(/\\[nt\\]/g, (found) => ESCAPES[found] ?? found);
}

function escaped(line: string): string {
  return line.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('\t', '\\t');
}

function readJson(parameter: Parameter & { kind: 'json' }, text: string): Read {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { problem: { key: 'json' } };
  }
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  if (parameter.of === 'object' && !isObject) return { problem: { key: 'object' } };
  if (parameter.of === 'list' && !Array.isArray(value)) return { problem: { key: 'list' } };
  const problem = parameter.check && CHECKS[parameter.check](value as Record<string, unknown>);
  return problem ? { problem } : { value };
}

const CHECKS: Record<'bias' | 'metadata', (value: Record<string, unknown>) => Problem | undefined> = {
  bias(value) {
    const good = Object.entries(value).every(
      ([token, bias]) => /^\d{1,9}$/.test(token) && typeof bias === 'number' && Math.abs(bias) <= 100,
    );
    return good ? undefined : { key: 'bias' };
  },
  metadata(value) {
    const pairs = Object.entries(value);
    const good =
      pairs.length <= 16 &&
      pairs.every(([key, text]) => key.length <= 64 && typeof text === 'string' && text.length <= 512);
    return good ? undefined : { key: 'metadata' };
  },
};
