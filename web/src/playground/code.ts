/** The request on the screen as a program: Python, TypeScript or curl, with OpenAI's or Azure's client. */
import type { Json } from './draft';
import { PARAMETERS, PATHS, type Endpoint } from './parameters';

export const LANGUAGES = ['python', 'typescript', 'curl'] as const;
export type CodeLanguage = (typeof LANGUAGES)[number];
export const CLIENTS = ['openai', 'azure'] as const;
export type Client = (typeof CLIENTS)[number];

export const LANGUAGE_NAMES: Record<CodeLanguage, string> = {
  python: 'Python',
  typescript: 'TypeScript',
  curl: 'curl',
};
export const CLIENT_NAMES: Record<Client, string> = { openai: 'OpenAI', azure: 'Azure OpenAI' };

/** Where the key is taken from. */
export const KEY_VARIABLE = 'FREEHOLD_API_KEY';
const API_VERSION = '2024-10-21';

export interface CodeRequest {
  endpoint: Endpoint;
  body: Json;
  /** Scheme, host and port of the server. */
  origin: string;
}

/** The program. */
export function code(language: CodeLanguage, client: Client, request: CodeRequest): string {
  return { python, typescript, curl }[language](client, request);
}

/** The address that a client calls. */
export function address(client: Client, { endpoint, body, origin }: CodeRequest): string {
  if (client === 'openai') return origin + PATHS[endpoint];
  const path =
    endpoint === 'chat'
      ? `/openai/deployments/${encodeURIComponent(String(body.model))}/chat/completions`
      : '/openai/responses';
  return `${origin}${path}?api-version=${API_VERSION}`;
}

// --- curl ---

function curl(client: Client, request: CodeRequest): string {
  const header = client === 'openai' ? `"Authorization: Bearer $${KEY_VARIABLE}"` : `"api-key: $${KEY_VARIABLE}"`;
  return [
    `curl${request.body.stream === true ? ' --no-buffer' : ''} ${quoted(address(client, request))} \\`,
    `  -H ${header} \\`,
    `  -H "Content-Type: application/json" \\`,
    `  --data-binary ${quoted(JSON.stringify(request.body, null, 2))}`,
    '',
  ].join('\n');
}

/** A word of a POSIX shell in which nothing means anything. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

// --- Python ---

function python(client: Client, { endpoint, body, origin }: CodeRequest): string {
  const known = new Set(PARAMETERS[endpoint].map((each) => each.name.split('.')[0] ?? ''));
  for (const name of ['model', 'messages', 'input', 'tools', 'tool_choice', 'response_format', 'text']) known.add(name);
  const own = Object.entries(body).filter(([name]) => known.has(name));
  const other = Object.entries(body).filter(([name]) => !known.has(name));
  const named = own.map(([name, value]) => `    ${name}=${pythonValue(value, 1)},`);
  // What the client has no argument for goes into the body all the same.
  if (other.length > 0) named.push(`    extra_body=${pythonValue(Object.fromEntries(other), 1)},`);
  const make =
    client === 'openai'
      ? [`client = OpenAI(base_url=${JSON.stringify(`${origin}/v1`)}, api_key=os.environ["${KEY_VARIABLE}"])`]
      : [
          'client = AzureOpenAI(',
          `    azure_endpoint=${JSON.stringify(origin)},`,
          `    api_key=os.environ["${KEY_VARIABLE}"],`,
          `    api_version="${API_VERSION}",`,
          ')',
        ];
  const call = endpoint === 'chat' ? 'client.chat.completions.create(' : 'client.responses.create(';
  return [
    'import os',
    '',
    `from openai import ${client === 'openai' ? 'OpenAI' : 'AzureOpenAI'}`,
    '',
    ...make,
    `${body.stream === true ? 'stream' : 'answer'} = ${call}`,
    ...named,
    ')',
    ...pythonEnd(endpoint, body.stream === true),
    '',
  ].join('\n');
}

function pythonEnd(endpoint: Endpoint, streamed: boolean): string[] {
  if (!streamed) return ['print(answer.model_dump_json(indent=2))'];
  return endpoint === 'chat'
    ? [
        'for chunk in stream:',
        '    for choice in chunk.choices:',
        '        print(choice.delta.content or "", end="", flush=True)',
        'print()',
      ]
    : [
        'for event in stream:',
        '    if event.type == "response.output_text.delta":',
        '        print(event.delta, end="", flush=True)',
        'print()',
      ];
}

/** A value as Python writes it. Texts are JSON's, which Python reads alike. */
export function pythonValue(value: unknown, depth = 0): string {
  const inner = '    '.repeat(depth + 1);
  const outer = '    '.repeat(depth);
  if (value === null || value === undefined) return 'None';
  if (value === true) return 'True';
  if (value === false) return 'False';
  if (Array.isArray(value)) {
    if (value.length === 0) return '[]';
    return `[\n${value.map((each) => `${inner}${pythonValue(each, depth + 1)},\n`).join('')}${outer}]`;
  }
  if (typeof value === 'object') {
    const entries = Object.entries(value);
    if (entries.length === 0) return '{}';
    const lines = entries.map(([name, each]) => `${inner}${JSON.stringify(name)}: ${pythonValue(each, depth + 1)},\n`);
    return `{\n${lines.join('')}${outer}}`;
  }
  return JSON.stringify(value);
}

// --- TypeScript ---

function typescript(client: Client, { endpoint, body, origin }: CodeRequest): string {
  const name = client === 'openai' ? 'OpenAI' : 'AzureOpenAI';
  const options =
    client === 'openai'
      ? [`  baseURL: ${scriptValue(`${origin}/v1`)},`]
      : [`  endpoint: ${scriptValue(origin)},`, `  apiVersion: '${API_VERSION}',`];
  const call = endpoint === 'chat' ? 'client.chat.completions.create(' : 'client.responses.create(';
  const streamed = body.stream === true;
  return [
    client === 'openai' ? "import OpenAI from 'openai';" : "import { AzureOpenAI } from 'openai';",
    '',
    `const client = new ${name}({`,
    ...options,
    `  apiKey: process.env.${KEY_VARIABLE},`,
    '});',
    `const ${streamed ? 'stream' : 'answer'} = await ${call}${scriptValue(body)});`,
    ...typescriptEnd(endpoint, streamed),
    '',
  ].join('\n');
}

function typescriptEnd(endpoint: Endpoint, streamed: boolean): string[] {
  if (!streamed) return ['console.log(JSON.stringify(answer, null, 2));'];
  return endpoint === 'chat'
    ? [
        'for await (const chunk of stream) {',
        '  for (const choice of chunk.choices) {',
        "    process.stdout.write(choice.delta.content ?? '');",
        '  }',
        '}',
      ]
    : [
        'for await (const event of stream) {',
        "  if (event.type === 'response.output_text.delta') {",
        '    process.stdout.write(event.delta);',
        '  }',
        '}',
      ];
}

/** A value as JavaScript writes it: names without quotes where they need none. */
export function scriptValue(value: unknown, depth = 0): string {
  const inner = '  '.repeat(depth + 1);
  const outer = '  '.repeat(depth);
  if (Array.isArray(value)) {
    if (value.length === 0) return '[]';
    return `[\n${value.map((each) => `${inner}${scriptValue(each, depth + 1)},\n`).join('')}${outer}]`;
  }
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value);
    if (entries.length === 0) return '{}';
    const lines = entries.map(([name, each]) => `${inner}${scriptName(name)}: ${scriptValue(each, depth + 1)},\n`);
    return `{\n${lines.join('')}${outer}}`;
  }
  return typeof value === 'string' ? scriptText(value) : JSON.stringify(value);
}

function scriptName(name: string): string {
  // `__proto__` as a plain name or text would set the prototype.
  if (name === '__proto__') return "['__proto__']";
  return /^[A-Za-z_$][\w$]*$/.test(name) ? name : scriptText(name);
}

function scriptText(text: string): string {
  const inside = JSON.stringify(text)
    .slice(1, -1)
    .replaceAll(String.raw`\"`, '"')
    .replaceAll("'", String.raw`\'`);
  return `'${inside}'`;
}
