import { execFileSync } from 'node:child_process';

import { describe, expect, it } from 'vitest';

import { address, CLIENTS, code, LANGUAGES, pythonValue, scriptValue } from './code';

const NASTY = `It's "quoted" \\ \`tick\` $HOME $(id) \${x} %s {0} !x\n\tnew line\r\u2028 Grüße 日本 🦉 </script> \u0000`;
const BODY = {
  model: 'a/b chat',
  messages: [{ role: 'user', content: NASTY }],
  stream: true,
  temperature: 0.1,
  stop: [],
  metadata: { "it's": 'x', __proto__2: 'y' },
  something_new: null,
};
const REQUEST = { endpoint: 'chat', body: BODY, origin: 'https://ai.example.org:8443' } as const;

describe('code', () => {
  it.each(LANGUAGES.flatMap((language) => CLIENTS.map((client) => [language, client] as const)))(
    'in %s for %s has no key in it, but where it comes from',
    (language, client) => {
      const made = code(language, client, REQUEST);
      expect(made).toContain('FREEHOLD_API_KEY');
      expect(made).toContain('https://ai.example.org:8443');
    },
  );

  it('calls where the clients call', () => {
    expect(address('openai', REQUEST)).toBe('https://ai.example.org:8443/v1/chat/completions');
    expect(address('azure', REQUEST)).toBe(
      'https://ai.example.org:8443/openai/deployments/a%2Fb%20chat/chat/completions?api-version=2024-10-21',
    );
    expect(address('azure', { ...REQUEST, endpoint: 'responses' })).toBe(
      'https://ai.example.org:8443/openai/responses?api-version=2024-10-21',
    );
  });

  it('gives a shell the very body', () => {
    // No argument of a process has a NUL in it; JSON writes it as an escape anyway.
    const script = code('curl', 'openai', REQUEST).replace(/^curl /, "printf '%s\\0' ");
    const words = execFileSync('sh', ['-c', script], { encoding: 'utf8', env: { FREEHOLD_API_KEY: 'k' } }).split('\0');
    expect(words[1]).toBe('https://ai.example.org:8443/v1/chat/completions');
    expect(words[3]).toBe('Authorization: Bearer k');
    expect(JSON.parse(words[7] ?? '')).toEqual(BODY);
  });

  it('writes values that scripts read alike', () => {
    const text = scriptValue({ ...BODY, ['__proto__']: { evil: true } });
    const found = new Function(`return ${text}`)() as Record<string, unknown>;
    expect(Object.getPrototypeOf(found)).toBe(Object.prototype);
    expect(JSON.stringify(found)).toBe(JSON.stringify({ ...BODY, ['__proto__']: { evil: true } }));
  });

  it('writes values as Python does', () => {
    expect(pythonValue({ a: [true, false, null], b: {}, c: [], d: 'x"y\n' })).toBe(
      '{\n    "a": [\n        True,\n        False,\n        None,\n    ],\n    "b": {},\n    "c": [],\n    "d": "x\\"y\\n",\n}',
    );
  });

  it('passes on what the Python client has no argument for', () => {
    const made = code('python', 'openai', REQUEST);
    expect(made).toContain('    extra_body={\n        "something_new": None,\n    },');
    expect(made).toContain('    temperature=0.1,');
  });
});
