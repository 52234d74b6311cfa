/** Checks a value against a JSON schema, and shows both as a tree. Keywords that it does not know are told, not judged. */
import type { Json } from './draft';

export interface Node {
  /** A property's name or an element's place; empty for the whole. */
  name: string;
  /** `object`, `array`, `string`, `number`, `integer`, `boolean`, `null`. */
  type: string;
  /** The value as JSON, where it has no parts. */
  value: string | null;
  /** Keys of messages `playground:schema.…` with their values. */
  problems: { key: string; values?: Record<string, unknown> }[];
  children: Node[];
}

type Problems = Node['problems'];

/** The tree of a value with what is wrong at each place. References within the schema are followed. */
export function check(value: unknown, schema: unknown): Node {
  return node('', value, schema, { root: schema, depth: 0 });
}

/** How much is wrong in a tree. */
export function count(tree: Node): number {
  return tree.problems.length + tree.children.reduce((sum, child) => sum + count(child), 0);
}

interface Context {
  root: unknown;
  depth: number;
}

const DEEPEST = 64;

function node(name: string, value: unknown, given: unknown, context: Context): Node {
  const schema = resolved(given, context.root);
  const type = typeOf(value);
  const deeper = { ...context, depth: context.depth + 1 };
  const made: Node = { name, type, value: null, problems: problemsOf(value, schema, deeper), children: [] };
  if (context.depth > DEEPEST) return made;
  if (Array.isArray(value)) {
    const prefix = Array.isArray(schema.prefixItems) ? (schema.prefixItems as unknown[]) : [];
    made.children = value.map((each, place) => node(String(place), each, prefix[place] ?? schema.items, deeper));
  } else if (type === 'object') {
    const properties = (schema.properties ?? {}) as Json;
    made.children = Object.entries(value as Json).map(([key, each]) => {
      const child = node(key, each, own(properties, key) ?? schema.additionalProperties, deeper);
      if (schema.additionalProperties === false && own(properties, key) === undefined) {
        child.problems.push({ key: 'additional' });
      }
      return child;
    });
  } else made.value = JSON.stringify(value);
  return made;
}

function own(object: Json, key: string): unknown {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}

/** A schema as an object; `true`, nothing and what cannot be followed allow everything. */
function resolved(schema: unknown, root: unknown): Json {
  let found = schema;
  for (let step = 0; step < 16; step++) {
    if (typeof found !== 'object' || found === null) return {};
    const reference = (found as Json).$ref;
    if (typeof reference !== 'string') return found as Json;
    found = followed(reference, root);
  }
  return {};
}

function followed(reference: string, root: unknown): unknown {
  if (!reference.startsWith('#')) return undefined;
  let at = root;
  for (const part of reference.slice(1).split('/').filter(Boolean)) {
    const key = decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~');
    if (typeof at !== 'object' || at === null) return undefined;
    at = own(at as Json, key);
  }
  return at;
}

export function typeOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'number' && Number.isInteger(value)) return 'integer';
  return typeof value;
}

function problemsOf(value: unknown, schema: Json, context: Context): Problems {
  const found: Problems = [];
  const types = schema.type === undefined ? [] : ([schema.type].flat() as string[]);
  const type = typeOf(value);
  if (types.length > 0 && !types.includes(type) && !(type === 'integer' && types.includes('number'))) {
    found.push({ key: 'type', values: { wanted: types.join(', '), found: type } });
    return found;
  }
  if (Array.isArray(schema.enum) && !schema.enum.some((each) => same(each, value))) {
    found.push({ key: 'enum', values: { wanted: schema.enum.map((each) => JSON.stringify(each)).join(', ') } });
  }
  if ('const' in schema && !same(schema.const, value)) {
    found.push({ key: 'const', values: { wanted: JSON.stringify(schema.const) } });
  }
  if (typeof value === 'number') found.push(...ofNumber(value, schema));
  if (typeof value === 'string') found.push(...ofText(value, schema));
  if (Array.isArray(value)) found.push(...bounded(value.length, schema.minItems, schema.maxItems, 'items'));
  if (type === 'object') {
    for (const name of (schema.required ?? []) as string[]) {
      if (own(value as Json, name) === undefined) found.push({ key: 'missing', values: { name } });
    }
  }
  return [...found, ...combined(value, schema, context)];
}

function combined(value: unknown, schema: Json, context: Context): Problems {
  if (context.depth > DEEPEST) return [];
  const fits = (other: unknown) => count(node('', value, other, context)) === 0;
  const list = (name: string) => (Array.isArray(schema[name]) ? (schema[name] as unknown[]) : null);
  const found: Problems = [];
  const any = list('anyOf');
  if (any && !any.some(fits)) found.push({ key: 'anyOf' });
  const one = list('oneOf');
  if (one && one.filter(fits).length !== 1) found.push({ key: 'oneOf' });
  const all = list('allOf');
  if (all && !all.every(fits)) found.push({ key: 'allOf' });
  if (schema.not !== undefined && fits(schema.not)) found.push({ key: 'not' });
  return found;
}

function ofNumber(value: number, schema: Json): Problems {
  const found = bounded(value, schema.minimum, schema.maximum, 'value');
  const { exclusiveMinimum: above, exclusiveMaximum: below, multipleOf: step } = schema;
  if (typeof above === 'number' && value <= above) found.push({ key: 'value', values: { wanted: `> ${above}` } });
  if (typeof below === 'number' && value >= below) found.push({ key: 'value', values: { wanted: `< ${below}` } });
  if (typeof step === 'number' && !Number.isInteger(value / step)) {
    found.push({ key: 'multipleOf', values: { wanted: step } });
  }
  return found;
}

function ofText(value: string, schema: Json): Problems {
  const found = bounded([...value].length, schema.minLength, schema.maxLength, 'length');
  if (typeof schema.pattern === 'string') {
    try {
      if (!new RegExp(schema.pattern, 'u').test(value))
        found.push({ key: 'pattern', values: { wanted: schema.pattern } });
    } catch {
      found.push({ key: 'unreadable', values: { wanted: schema.pattern } });
    }
  }
  return found;
}

function bounded(value: number, least: unknown, most: unknown, key: string): Problems {
  const found: Problems = [];
  if (typeof least === 'number' && value < least) found.push({ key, values: { wanted: `≥ ${least}` } });
  if (typeof most === 'number' && value > most) found.push({ key, values: { wanted: `≤ ${most}` } });
  return found;
}

function same(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  const [first, second] = [Object.entries(a), b as Json];
  return (
    Array.isArray(a) === Array.isArray(b) &&
    first.length === Object.keys(second).length &&
    first.every(([key, value]) => same(value, own(second, key)))
  );
}

/** Schemas to begin with, by the key of their name `playground:template.…`. */
export const TEMPLATES: Record<string, Json> = {
  facts: {
    type: 'object',
    properties: {
      title: { type: 'string' },
      year: { type: 'integer' },
      tags: { type: 'array', items: { type: 'string' } },
    },
    required: ['title', 'year', 'tags'],
    additionalProperties: false,
  },
  label: {
    type: 'object',
    properties: {
      label: { type: 'string', enum: ['positive', 'neutral', 'negative'] },
      reason: { type: 'string' },
    },
    required: ['label', 'reason'],
    additionalProperties: false,
  },
  list: {
    type: 'object',
    properties: {
      items: {
        type: 'array',
        items: {
          type: 'object',
          properties: { name: { type: 'string' }, amount: { type: 'number' } },
          required: ['name', 'amount'],
          additionalProperties: false,
        },
      },
    },
    required: ['items'],
    additionalProperties: false,
  },
};
