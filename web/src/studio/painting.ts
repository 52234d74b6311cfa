/** Asks the API for pictures, and tells what comes while it is painted. */
import { ApiError, send, stream } from '../lib/api';
import { blobOf } from './files';
import type { Operation } from './picture';

/** The largest seed that the API takes; picture i of a request is painted with seed + i. */
export const MAX_SEED = 2 ** 31 - 1;
export const MAX_COUNT = 10;
/** How many unfinished states of each picture are asked for, of painters that show them. */
export const STATES = 3;

export interface Order {
  operation: Exclude<Operation, 'upload'>;
  model: string;
  prompt: string;
  count: number;
  /** WIDTHxHEIGHT or `auto`. */
  size: string;
  seed: number;
  /** How many unfinished states to show. */
  states: number;
  /** For edits and variations: the file of the picture that it is made from. */
  source?: Blob;
  /** For edits: transparent where to paint anew. */
  mask?: Blob;
}

export type Painted =
  /** The request was taken, under this id. */
  | { kind: 'taken'; requestId: string | null }
  /** An unfinished state of a picture, the first being 1. */
  | { kind: 'state'; index: number; state: number; file: Blob }
  | { kind: 'picture'; index: number; file: Blob };

interface PaintEvent {
  type?: string;
  b64_json?: string;
  partial_image_index?: number;
  error?: { message?: string; code?: string | null; param?: string | null } & Record<string, unknown>;
}

/**
 * What comes of an order.
 *
 * @throws ApiError where the server refuses or breaks off.
 */
export async function* paint(order: Order, signal: AbortSignal): AsyncGenerator<Painted> {
  let requestId: string | null = null;
  const onanswer = (answer: Response) => (requestId = answer.headers.get('x-request-id'));
  const path = `/v1/images/${PATHS[order.operation]}`;
  if (order.operation === 'variation') {
    const answer = await send('POST', path, formOf(order), { signal, onanswer });
    yield { kind: 'taken', requestId };
    const { data } = (await answer.json()) as { data: { b64_json: string }[] };
    for (const [index, each] of data.entries()) yield { kind: 'picture', index, file: blobOf(each.b64_json) };
    return;
  }
  const body = order.operation === 'edit' ? formOf(order) : Object.fromEntries(fieldsOf(order));
  let index = 0;
  let taken = false;
  for await (const { data } of stream<PaintEvent>(path, body, { signal, onanswer })) {
    if (!taken) yield { kind: 'taken', requestId };
    taken = true;
    if (data.error) throw errorIn(data.error, requestId);
    if (!data.b64_json) continue;
    const file = blobOf(data.b64_json);
    if (data.type?.endsWith('.partial_image')) {
      yield { kind: 'state', index, state: (data.partial_image_index ?? 0) + 1, file };
    } else {
      yield { kind: 'picture', index, file };
      index += 1;
    }
  }
  if (index < order.count) throw new ApiError(0, 'The connection to the server broke off.', 'network');
}

const PATHS = { generation: 'generations', edit: 'edits', variation: 'variations' } as const;

function fieldsOf(order: Order): [string, string | number | boolean][] {
  const alike: [string, string | number | boolean][] = [
    ['model', order.model],
    ['n', order.count],
    ['size', order.size],
    ['seed', order.seed],
  ];
  if (order.operation === 'variation') return [...alike, ['response_format', 'b64_json']];
  const states: [string, number][] = order.states > 0 ? [['partial_images', order.states]] : [];
  return [...alike, ['prompt', order.prompt], ['stream', true], ...states];
}

function formOf(order: Order): FormData {
  const form = new FormData();
  for (const [name, value] of fieldsOf(order)) form.append(name, String(value));
  if (order.source) form.append('image', order.source, 'picture');
  if (order.mask) form.append('mask', order.mask, 'mask.png');
  return form;
}

function errorIn(error: NonNullable<PaintEvent['error']>, requestId: string | null): ApiError {
  const message = error.message ?? 'The server broke off.';
  return new ApiError(500, message, error.code ?? null, error.param ?? null, requestId, null, error);
}

/** A seed that nobody chose, such that `count` pictures have room behind it. */
export function anySeed(count: number): number {
  const room = MAX_SEED - count;
  const [drawn = 0] = crypto.getRandomValues(new Uint32Array(1));
  return drawn % room;
}
