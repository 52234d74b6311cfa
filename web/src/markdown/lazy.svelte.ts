/** What is fetched when a text first needs it: KaTeX for mathematics, highlight.js and its languages for code. */
import type { HLJSApi, LanguageFn } from 'highlight.js';

type Katex = (typeof import('katex'))['default'];
type LanguageFile = () => Promise<{ default: LanguageFn }>;

const LANGUAGES: Record<string, LanguageFile> = {
  bash: () => import('highlight.js/lib/languages/bash'),
  c: () => import('highlight.js/lib/languages/c'),
  cpp: () => import('highlight.js/lib/languages/cpp'),
  csharp: () => import('highlight.js/lib/languages/csharp'),
  css: () => import('highlight.js/lib/languages/css'),
  diff: () => import('highlight.js/lib/languages/diff'),
  dockerfile: () => import('highlight.js/lib/languages/dockerfile'),
  go: () => import('highlight.js/lib/languages/go'),
  ini: () => import('highlight.js/lib/languages/ini'),
  java: () => import('highlight.js/lib/languages/java'),
  javascript: () => import('highlight.js/lib/languages/javascript'),
  json: () => import('highlight.js/lib/languages/json'),
  kotlin: () => import('highlight.js/lib/languages/kotlin'),
  lua: () => import('highlight.js/lib/languages/lua'),
  markdown: () => import('highlight.js/lib/languages/markdown'),
  php: () => import('highlight.js/lib/languages/php'),
  python: () => import('highlight.js/lib/languages/python'),
  r: () => import('highlight.js/lib/languages/r'),
  ruby: () => import('highlight.js/lib/languages/ruby'),
  rust: () => import('highlight.js/lib/languages/rust'),
  sql: () => import('highlight.js/lib/languages/sql'),
  swift: () => import('highlight.js/lib/languages/swift'),
  typescript: () => import('highlight.js/lib/languages/typescript'),
  xml: () => import('highlight.js/lib/languages/xml'),
  yaml: () => import('highlight.js/lib/languages/yaml'),
};
const ALIASES = new Map(
  Object.entries({
    'c#': 'csharp',
    'c++': 'cpp',
    cs: 'csharp',
    docker: 'dockerfile',
    golang: 'go',
    html: 'xml',
    js: 'javascript',
    jsx: 'javascript',
    kt: 'kotlin',
    md: 'markdown',
    py: 'python',
    python3: 'python',
    rb: 'ruby',
    rs: 'rust',
    sh: 'bash',
    shell: 'bash',
    svg: 'xml',
    toml: 'ini',
    ts: 'typescript',
    tsx: 'typescript',
    yml: 'yaml',
    zsh: 'bash',
  }),
);
/** Longer code is shown without colours: finding them would hold up the page. */
const LONGEST = 40_000;

let arrived = $state(0);
let katex: Katex | null = null;
let highlighter: HLJSApi | null = null;
const asked: string[] = [];

/** KaTeX, or null until it is there; whoever asked inside an effect is run again then. */
export function mathematics(): Katex | null {
  void arrived;
  if (katex === null) {
    once('katex', async () => {
      katex = (await import('katex')).default;
    });
  }
  return katex;
}

/** Code as HTML with the parts of its language marked, or null where the language is unknown or not there yet. */
export function highlighted(code: string, language: string): string | null {
  const name = ALIASES.get(language) ?? language;
  const file = Object.hasOwn(LANGUAGES, name) ? LANGUAGES[name] : undefined;
  if (file === undefined || code.length > LONGEST) return null;
  void arrived;
  if (highlighter?.getLanguage(name))
    return highlighter.highlight(code, { language: name, ignoreIllegals: true }).value;
  once(name, async () => {
    const [core, found] = await Promise.all([import('highlight.js/lib/core'), file()]);
    highlighter = core.default;
    highlighter.registerLanguage(name, found.default);
  });
  return null;
}

function once(name: string, fetch: () => Promise<void>): void {
  if (asked.includes(name)) return;
  asked.push(name);
  fetch().then(
    () => (arrived += 1),
    // Without the file the text stays as it was written; it is asked for again with the next text.
    () => asked.splice(asked.indexOf(name), 1),
  );
}
