/** An answer while it is made: what the events of its stream make of it. */
import type { Answer, Item, StreamEvent } from './types';

export interface LiveAnswer {
  id: string | null;
  status: Answer['status'];
  /** The number of the last event that was seen; a stream is followed from there. */
  seen: number;
  items: Item[];
  /** Pictures that are being painted, by the item's id: base64. */
  partial: Record<string, string>;
  error: Answer['error'];
  reason: string | null;
  usage: Answer['usage'] | null;
}

export function newAnswer(): LiveAnswer {
  return { id: null, status: 'queued', seen: -1, items: [], partial: {}, error: null, reason: null, usage: null };
}

export const DONE: readonly string[] = ['completed', 'incomplete', 'failed', 'cancelled'];

/** Take in one event. */
export function take(answer: LiveAnswer, event: StreamEvent): void {
  if (event.type === 'error') return;
  answer.seen = event.sequence_number;
  if (event.response) {
    takeResponse(answer, event.response);
    return;
  }
  const { output_index: place, item_id: id } = event;
  if (event.type === 'response.output_item.added' || event.type === 'response.output_item.done') {
    if (event.item && place !== undefined) answer.items[place] = event.item;
    const done = event.item?.id;
    answer.partial = Object.fromEntries(Object.entries(answer.partial).filter(([each]) => each !== done));
    return;
  }
  const item = answer.items.find((each) => each.id === id);
  if (item === undefined) return;
  if (event.type === 'response.image_generation_call.partial_image') {
    answer.partial[item.id] = event.partial_image_b64 ?? '';
  } else if (event.type === 'response.image_generation_call.generating') {
    item.status = 'generating';
  } else if (event.delta !== undefined) grow(item, event.type, event.delta);
}

function takeResponse(answer: LiveAnswer, response: Answer): void {
  answer.id = response.id;
  answer.status = response.status;
  answer.error = response.error;
  answer.reason = response.incomplete_details?.reason ?? null;
  answer.usage = response.usage ?? null;
  if (DONE.includes(response.status)) answer.items = response.output;
}

function grow(item: Item, type: string, delta: string): void {
  if (type === 'response.output_text.delta' || type === 'response.reasoning_text.delta') {
    const kind = type === 'response.output_text.delta' ? 'output_text' : 'reasoning_text';
    if (!Array.isArray(item.content)) item.content = [];
    const last = item.content[item.content.length - 1];
    if (last) last.text = (last.text ?? '') + delta;
    else item.content.push({ type: kind, text: delta });
  } else if (type.endsWith('arguments.delta')) item.arguments = (item.arguments ?? '') + delta;
}
