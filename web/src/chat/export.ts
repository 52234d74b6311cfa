/** A conversation as a file: Markdown to read, JSON to go on working with. Everything is made in the browser. */
import { pages } from '../lib/api';
import { t } from '../lib/i18n.svelte';
import { partsOf, turnsOf, turnText } from './turns';
import type { Conversation, Item, Part } from './types';

export async function exportTalk(talk: Conversation, form: 'markdown' | 'json'): Promise<void> {
  let items: Item[] = [];
  for await (const page of pages<Item>(`/v1/conversations/${talk.id}/items`, { limit: 100, order: 'asc' })) {
    items = [...items, ...page];
  }
  const title = talk.metadata.title || t('chat:untitled');
  const name = fileName(title);
  if (form === 'json') {
    save(`${name}.json`, 'application/json', JSON.stringify({ ...talk, items }, null, 2));
  } else save(`${name}.md`, 'text/markdown', markdownOf(title, items));
}

export function markdownOf(title: string, items: readonly Item[]): string {
  const parts = turnsOf(items).map((turn) => {
    const who = t(turn.role === 'user' ? 'chat:you' : 'chat:assistant');
    const pictures = turn.items.filter((item) => item.type === 'image_generation_call').map(() => t('chat:picture'));
    const sent = turn.items.flatMap(partsOf).flatMap(attachmentLine);
    return `## ${who}\n\n${[...sent, turnText(turn), ...pictures.map((each) => `*${each}*`)].filter(Boolean).join('\n\n')}\n`;
  });
  return `# ${title}\n\n${parts.join('\n')}`;
}

/** What stands for something that was sent along; nothing for text. */
function attachmentLine(part: Part): string[] {
  if (part.type !== 'input_file' && part.type !== 'input_image') return [];
  const kind = t(part.type === 'input_file' ? 'chat:file' : 'chat:picture');
  const name = part.filename || part.file_id;
  return [name ? `[${kind}: ${name}]` : `[${kind}]`];
}

/** A title as the name of a file, on every system. */
export function fileName(title: string): string {
  const safe = title
    .normalize('NFC')
    .replace(/[^\p{L}\p{N} ._-]+/gu, ' ')
    .replace(/\s+/g, ' ')
    .replace(/^[. ]+|[. ]+$/g, '');
  return [...safe].slice(0, 80).join('') || 'chat';
}

export function save(name: string, type: string, content: BlobPart): void {
  const address = URL.createObjectURL(new Blob([content], { type }));
  const link = document.createElement('a');
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
