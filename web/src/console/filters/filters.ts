/** Content-filter policies and blocklists, as the API has them and as the editor shows them. */
export const CATEGORIES = ['hate', 'sexual', 'violence', 'self_harm'] as const;
export type Category = (typeof CATEGORIES)[number];
export const SIDES = ['prompt', 'completion'] as const;
export type Side = (typeof SIDES)[number];
export const SEVERITIES = ['low', 'medium', 'high'] as const;
export type Severity = (typeof SEVERITIES)[number];
export const HARMS = ['block', 'annotate', 'off'] as const;
export type Harm = (typeof HARMS)[number];
export const MASKINGS = ['block', 'mask', 'annotate', 'off'] as const;
export type Masking = (typeof MASKINGS)[number];
export const KINDS = ['email', 'phone', 'card', 'iban', 'national_id', 'ip_address'] as const;
export type Kind = (typeof KINDS)[number];
export const SHIELDS = ['jailbreak', 'indirect_attack'] as const;
export const GUARDS = ['llama_guard', 'qwen3guard', 'shieldgemma', 'gpt_oss_safeguard'] as const;

export interface Rule {
  threshold: Severity;
  action: Harm;
}

/** A policy with every key. */
export interface Policy {
  name: string;
  description: string;
  rules: Record<Category, Record<Side, Rule>>;
  jailbreak: Harm;
  indirect_attack: Harm;
  blocklists: string[];
  personal_data: { prompt: Masking; completion: Masking; kinds: Kind[] };
  secrets: { prompt: Masking; completion: Masking };
  mode: 'blocking' | 'asynchronous';
  on_error: 'closed' | 'open';
  embeddings: boolean;
  keep_flagged: boolean;
  guard: { deployment: string; format: (typeof GUARDS)[number]; always: boolean } | null;
}

/** What the API sends and takes: whatever is left out is as by default. */
export type Settings = { name: string } & Record<string, unknown>;

export interface Stored {
  name: string;
  origin: 'starter' | 'api' | 'config';
  settings: Settings;
  deployments: string[];
}

export interface Item {
  term?: string;
  pattern?: string;
  description?: string;
}

export interface Blocklist {
  name: string;
  origin: 'api' | 'config';
  settings: { name: string; description?: string; project?: string; prompt?: Harm; completion?: Harm; items?: Item[] };
  item_count: number;
  policies: string[];
}

export interface Trial {
  severities: Record<Category, 'safe' | Severity>;
  shields: string[];
  spans: { kind: 'personal_data' | 'secret' | 'blocklist'; name: string; start: number; end: number }[];
  blocked: string[];
  masked: number;
  text: string;
}

const RULE: Rule = { threshold: 'medium', action: 'block' };

/** A policy with every key, from settings that leave out what is as by default. */
export function whole(settings: Settings): Policy {
  const part = (name: string) => (settings[name] ?? {}) as Record<string, unknown>;
  const rule = (category: Category, side: Side) => ({ ...RULE, ...(part(category)[side] as Partial<Rule>) });
  return {
    name: settings.name,
    description: (settings.description as string | undefined) ?? '',
    rules: Object.fromEntries(
      CATEGORIES.map((each) => [each, { prompt: rule(each, 'prompt'), completion: rule(each, 'completion') }]),
    ) as Policy['rules'],
    jailbreak: (settings.jailbreak as Harm | undefined) ?? 'block',
    indirect_attack: (settings.indirect_attack as Harm | undefined) ?? 'off',
    blocklists: [...((settings.blocklists as string[] | undefined) ?? [])],
    personal_data: { prompt: 'off', completion: 'off', kinds: [...KINDS], ...part('personal_data') },
    secrets: { prompt: 'off', completion: 'off', ...part('secrets') },
    mode: (settings.mode as Policy['mode'] | undefined) ?? 'blocking',
    on_error: (settings.on_error as Policy['on_error'] | undefined) ?? 'closed',
    embeddings: (settings.embeddings as boolean | undefined) ?? true,
    keep_flagged: (settings.keep_flagged as boolean | undefined) ?? false,
    guard: settings.guard ? ({ always: false, ...(settings.guard as object) } as Policy['guard']) : null,
  };
}

/** The settings of a policy, as they are sent. */
export function settingsOf(policy: Policy): Settings {
  const { rules, ...rest } = policy;
  return { ...rest, ...rules };
}

/** What a category's control shows: how strict it is, from off to low, where the least severe is acted upon. */
export type Strictness = 'off' | Severity;

export function strictness(rule: Rule): Strictness {
  return rule.action === 'off' ? 'off' : rule.threshold;
}

/** The rule after another strictness was chosen. What was done with what is found stays. */
export function strict(rule: Rule, wanted: Strictness): Rule {
  if (wanted === 'off') return { ...rule, action: 'off' };
  return { threshold: wanted, action: rule.action === 'off' ? 'block' : rule.action };
}

/** Pieces of a text, each with what was found in it. Places are counted in code points, as the API counts. */
export function pieces(text: string, spans: Trial['spans']): { text: string; found: string[] }[] {
  const points = [...text];
  const cuts = new Set([0, points.length]);
  for (const span of spans) cuts.add(span.start).add(span.end);
  const places = [...cuts].filter((at) => at >= 0 && at <= points.length).sort((one, other) => one - other);
  return places.slice(0, -1).map((start, index) => {
    const end = places[index + 1] ?? points.length;
    const inside = spans.filter((span) => span.start <= start && span.end >= end);
    return { text: points.slice(start, end).join(''), found: inside.map((span) => span.name) };
  });
}

/** Items from lines: `/…/` is a pattern, anything else a term. */
export function itemsOf(text: string): Item[] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .map((line) => {
      const pattern = /^\/(.+)\/$/.exec(line)?.[1];
      return pattern === undefined ? { term: line } : { pattern };
    });
}

/** The same, whatever the order of the keys. */
export function same(one: unknown, other: unknown): boolean {
  return ordered(one) === ordered(other);
}

function ordered(value: unknown): string {
  return JSON.stringify(value, (_key, each: unknown) =>
    each && typeof each === 'object' && !Array.isArray(each)
      ? Object.fromEntries(Object.entries(each).sort(([one], [other]) => one.localeCompare(other)))
      : each,
  );
}
