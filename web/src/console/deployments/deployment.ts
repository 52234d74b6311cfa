/** Deployments as the API tells of them, and as the form for their settings has them. */
import { ApiError } from '../../lib/api';

export interface Price {
  input?: string;
  cached_input?: string;
  output?: string;
  image?: string;
  from?: string;
}

export interface Canary {
  model: string;
  share: number;
  rollback_if?: string | null;
  window_s?: number;
  min_requests?: number;
}

export interface Settings {
  name: string;
  model: string;
  engine?: string;
  task?: string;
  aliases?: string[];
  price?: Price | Price[];
  project?: string | null;
  canary?: Canary | null;
  promote_if?: string | null;
  [setting: string]: unknown;
}

export interface Replica {
  id: string;
  state: string;
  pid: number | null;
  restarts: number;
  in_flight: number;
  error: string | null;
  progress: string | null;
  progress_fraction?: number | null;
  started_at?: number | null;
}

export interface Deployment {
  name: string;
  origin: 'starter' | 'api' | 'config';
  created_at: number;
  settings: Settings;
  state: string;
  replicas: Replica[];
  features: string[];
  context_length: number | null;
  embedding_dimensions: number | null;
  waiting?: number | null;
  in_flight?: number | null;
}

export const ENGINES = ['auto', 'llamacpp', 'painter', 'openvino_images', 'diffusers', 'remote', 'echo'] as const;
export const TASKS = ['chat', 'embeddings', 'images'] as const;

export type Tone = 'plain' | 'good' | 'warning' | 'danger' | 'accent';

const TONES: Record<string, Tone> = {
  ready: 'good',
  fetching: 'accent',
  starting: 'accent',
  draining: 'accent',
  unhealthy: 'danger',
  backing_off: 'danger',
  suspended: 'danger',
};

/** How the state of a deployment or of a replica looks. */
export function toneOf(state: string): Tone {
  return TONES[state] ?? 'plain';
}

/** Whether something is on its way, so that it is worth looking again soon. */
export function moving(deployment: Deployment): boolean {
  const states = [deployment.state, ...deployment.replicas.map((each) => each.state)];
  return states.some((state) => ['fetching', 'starting', 'draining', 'unhealthy', 'backing_off'].includes(state));
}

/** How far a replica's loading is, from 0 to 1; null where that is not known. */
export function loadedShare(replica: Replica): number | null {
  if (typeof replica.progress_fraction === 'number') return replica.progress_fraction;
  const told = /(\d+(?:\.\d+)?)\s*%/.exec(replica.progress ?? '');
  return told ? Number(told[1]) / 100 : null;
}

/** What the form holds: every value as it is written in its field. */
export interface Draft {
  name: string;
  model: string;
  engine: string;
  task: string;
  description: string;
  aliases: string;
  replicas: string;
  start: string;
  context_length: string;
  parallel: string;
  queue: string;
  idle_unload_s: string;
  price_input: string;
  price_cached_input: string;
  price_output: string;
  price_image: string;
  content_filter: string;
  fallbacks: string;
  zone: string;
  project: string;
  base_url: string;
  api_key_env: string;
  promote_if: string;
  upgrade: string;
}

const TEXTS = [
  'engine',
  'task',
  'start',
  'description',
  'content_filter',
  'zone',
  'project',
  'base_url',
  'promote_if',
  'upgrade',
] as const;
const NUMBERS = ['replicas', 'context_length', 'parallel', 'queue', 'idle_unload_s'] as const;
const LISTS = ['aliases', 'fallbacks'] as const;
const PRICES = ['input', 'cached_input', 'output', 'image'] as const;

const SHOWN: Partial<Draft> = {
  engine: 'auto',
  task: 'chat',
  replicas: '1',
  start: 'eager',
  content_filter: 'default',
  upgrade: 'never',
};

/** The form of a deployment's settings; of no deployment that for a new one. */
export function draftOf(settings?: Settings): Draft {
  const of = (name: string): string => {
    const value = settings?.[name];
    return value === undefined || value === null ? (SHOWN[name as keyof Draft] ?? '') : String(value);
  };
  const prices = Array.isArray(settings?.price) ? settings.price : [settings?.price ?? {}];
  const price = prices.length === 1 ? (prices[0] ?? {}) : {};
  const list = (name: string) => ((settings?.[name] as string[] | undefined) ?? []).join(', ');
  const key = settings?.api_key as { env?: string } | undefined;
  return {
    name: settings?.name ?? '',
    model: settings?.model ?? '',
    ...(Object.fromEntries([...TEXTS, ...NUMBERS].map((name) => [name, of(name)])) as Pick<
      Draft,
      (typeof TEXTS)[number] | (typeof NUMBERS)[number]
    >),
    aliases: list('aliases'),
    fallbacks: list('fallbacks'),
    price_input: price.input ?? '',
    price_cached_input: price.cached_input ?? '',
    price_output: price.output ?? '',
    price_image: price.image ?? '',
    api_key_env: key?.env ?? '',
  };
}

/** Whether the price changes by dates: that is more than the form can say, and it leaves it as it is. */
export function manyPrices(settings?: Settings): boolean {
  return Array.isArray(settings?.price) && settings.price.length > 1;
}

/** The settings that the form says. What the form has no field for stays as it was. */
export function settingsOf(draft: Draft, before?: Settings): Settings {
  const settings: Settings = { ...before, name: draft.name.trim(), model: draft.model.trim() };
  const put = (name: string, value: unknown) => {
    if (value === undefined) Reflect.deleteProperty(settings, name);
    else settings[name] = value;
  };
  for (const name of TEXTS) put(name, draft[name].trim() === '' ? undefined : draft[name].trim());
  // What is no number goes as it was written: the server's answer says what is wrong with it.
  for (const name of NUMBERS) put(name, draft[name].trim() === '' ? undefined : numberOr(draft[name]));
  for (const name of LISTS) put(name, named(draft[name]));
  if (!manyPrices(before)) {
    const first = Array.isArray(before?.price) ? before.price[0] : before?.price;
    const written = PRICES.map((name) => [name, draft[`price_${name}`].trim()]).filter(([, text]) => text !== '');
    const price = { ...(first?.from ? { from: first.from } : {}), ...Object.fromEntries(written) };
    put('price', written.length > 0 ? price : undefined);
  }
  const file = (before?.api_key as { file?: string } | undefined)?.file;
  if (draft.api_key_env.trim() !== '') put('api_key', { env: draft.api_key_env.trim() });
  else if (!file) put('api_key', undefined);
  return settings;
}

/** By which field of the form an error is meant; null where it is about none. */
export function fieldOf(error: unknown): string | null {
  if (!(error instanceof ApiError)) return null;
  const path = error.param ?? /^([a-z_]+)(\.[\w.]+)?:/.exec(error.message)?.[0].slice(0, -1);
  if (!path) return null;
  const parts = path.replaceAll(/\[(\d+)\]/g, '.$1').split('.');
  const rest = parts.slice(1).filter((part) => !/^\d+$/.test(part));
  if (parts[0] === 'price') return rest[0] ? `price_${rest[0]}` : 'price_input';
  if (parts[0] === 'api_key') return 'api_key_env';
  return parts[0] ?? null;
}

function named(text: string): string[] | undefined {
  const found = text.split(/[\s,]+/).filter((each) => each !== '');
  return found.length > 0 ? found : undefined;
}

function numberOr(text: string): number | string {
  const value = Number(text);
  return Number.isFinite(value) ? value : text;
}
