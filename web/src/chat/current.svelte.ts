/** Which conversation is shown, and those that are being answered meanwhile: none is lost by going elsewhere. */
import { post } from '../lib/api';
import { navigate } from '../routes';
import { parting } from './branches';
import { talks } from './list.svelte';
import { rootOf, withValues } from './metadata';
import { Talk } from './talk.svelte';
import type { Turn } from './turns';
import type { Conversation, Part } from './types';

let open: Record<string, Talk> = {};
let fresh = $state.raw(new Talk());
let making = $state(false);

/** The conversation that has not begun yet. */
export function freshTalk(): Talk {
  return fresh;
}

/** The conversation for an address. */
export function talkFor(id: string | undefined): Talk {
  if (id === undefined) return fresh;
  // What was said and could not be sent is nowhere else, so its conversation stays too.
  const busy = (talk: Talk) => talk.answering || talk.asked !== null;
  open = Object.fromEntries(Object.entries(open).filter(([other, talk]) => other === id || busy(talk)));
  const there = open[id];
  if (there !== undefined) return there;
  const talk = new Talk();
  open[id] = talk;
  void talk.open(id);
  return talk;
}

/** Begin a new conversation, of the kind that is not kept where that is wished. */
export function newTalk(temporary = false): void {
  fresh = new Talk();
  fresh.temporary = temporary;
  void navigate('/');
}

/** Say something in a conversation; a new one gets an address with its first message. */
export async function say(talk: Talk, content: Part[], text: string): Promise<void> {
  await talk.say(content, text, (id) => {
    open[id] = talk;
    void navigate('/chat/:id', { params: { id } }).then(() => {
      if (talk === fresh) fresh = new Talk();
    });
  });
}

/** Whether a branch is being made; a second click meanwhile would make another. */
export function branching(): boolean {
  return making;
}

/** Say something else in place of what was said: a branch of its own. */
export async function edit(talk: Talk, turn: Turn, text: string): Promise<void> {
  const kept = turn.items.flatMap((item) => (Array.isArray(item.content) ? item.content : []));
  const content = [...kept.filter((part) => part.type !== 'input_text'), { type: 'input_text', text }];
  const next = await parted(talk, turn);
  if (next !== null) await say(next, content, text);
}

/** Have an answer made again: a branch that parts after the question. */
export async function regenerate(talk: Talk, turn: Turn): Promise<void> {
  const next = await parted(talk, turn);
  await next?.answerLast();
}

/** The conversation that goes on differently from a turn; null while another is being made. */
async function parted(talk: Talk, turn: Turn): Promise<Talk | null> {
  if (making) return null;
  making = true;
  try {
    const after = await before(talk, turn);
    if (talk.temporary) {
      talk.dropAfter(after);
      making = false;
      return talk;
    }
    const next = await branch(talk, after);
    // Until the branch is shown, the buttons of the conversation it comes from are still there.
    void navigate('/chat/:id', { params: { id: next.id ?? '' } }).finally(() => (making = false));
    return next;
  } catch (error) {
    making = false;
    throw error;
  }
}

/** The item before a turn, which older items may have to be fetched for. */
async function before(talk: Talk, turn: Turn): Promise<string | null> {
  const first = turn.items[0];
  if (first === undefined || talk.items[0]?.id !== first.id || !talk.more) return turn.after;
  (await talk.older())?.();
  const place = talk.items.findIndex((item) => item.id === first.id);
  return talk.items[place - 1]?.id ?? null;
}

async function branch(talk: Talk, after: string | null): Promise<Talk> {
  const from = talk.conversation;
  if (from === null) throw new Error('Only a conversation that is kept has branches.');
  const order = talk.items.map((item) => item.id);
  const values = {
    ...parting(from, talk.family, after, order),
    root: rootOf(from),
    response: null,
    updated: String(Math.round(Date.now() / 1000)),
  };
  const metadata = withValues(talks.get(from.id)?.metadata ?? from.metadata, values);
  const made = await post<Conversation>(`/v1/conversations/${from.id}/fork`, { after, metadata });
  talks.put(made);
  const next = new Talk();
  next.id = made.id;
  next.conversation = made;
  next.settings = talk.settings;
  next.pictures = talk.pictures;
  next.items = talk.items.slice(0, after === null ? 0 : order.indexOf(after) + 1);
  next.more = after !== null && talk.more;
  open[made.id] = next;
  return next;
}

/** Go on with what a colleague shares, in a copy of one's own. */
export async function copyShared(talk: Talk): Promise<void> {
  const { title } = talk.conversation?.metadata ?? {};
  const metadata = { kind: 'chat', ...(title ? { title } : {}), updated: String(Math.round(Date.now() / 1000)) };
  const made = await post<Conversation>(`/v1/conversations/${talk.id}/fork`, { metadata });
  talks.put(made);
  await navigate('/chat/:id', { params: { id: made.id } });
}

/** Forget a conversation that was deleted. */
export function left(id: string): void {
  open = Object.fromEntries(Object.entries(open).filter(([other]) => other !== id));
}
