/** What is sent along with a message: texts, which go into the prompt, and pictures for models that see. */
import { send } from '../lib/api';
import type { Attachment, Part } from './types';

/** The service reads texts of up to a mebibyte; models rarely hold more than this. */
export const MOST_TEXT = 256 * 1024;
export const MOST_PICTURE = 20 * 1024 * 1024;
export const MOST_FILES = 10;

const TEXTS =
  /\.(txt|md|markdown|csv|tsv|json|jsonl|ya?ml|toml|ini|xml|html?|css|jsx?|tsx?|py|rb|rs|go|java|kt|c|h|cc|cpp|hpp|cs|php|sql|sh|r|lua|swift|log|tex|svelte|vue)$/i;
const PICTURES = ['image/png', 'image/jpeg', 'image/gif', 'image/webp'];

export type Refusal = 'kind' | 'blind' | 'large' | 'empty' | 'many';

let next = 0;

/** An attachment, or why a file cannot be one. */
export function attachmentOf(file: File, sees: boolean, before: number): Attachment | Refusal {
  const kind = kindOf(file);
  if (kind === null) return 'kind';
  if (kind === 'picture' && !sees) return 'blind';
  if (before >= MOST_FILES) return 'many';
  if (file.size === 0) return 'empty';
  if (file.size > (kind === 'text' ? MOST_TEXT : MOST_PICTURE)) return 'large';
  return { key: next++, name: file.name, kind, size: file.size, file };
}

function kindOf(file: File): Attachment['kind'] | null {
  if (PICTURES.includes(file.type)) return 'picture';
  return file.type.startsWith('text/') || TEXTS.test(file.name) ? 'text' : null;
}

/** The parts of a message. Pictures are uploaded where they are kept, and sent as they are where nothing is. */
export async function contentOf(text: string, attached: readonly Attachment[], keep: boolean): Promise<Part[]> {
  const parts = await Promise.all(attached.map((each) => partOf(each, keep)));
  return [...parts, ...(text ? [{ type: 'input_text', text }] : [])];
}

async function partOf(attachment: Attachment, keep: boolean): Promise<Part> {
  const { file, name, kind } = attachment;
  if (kind === 'text') {
    const data = await dataUrl(new Blob([await file.text()], { type: 'text/plain' }));
    return { type: 'input_file', filename: name, file_data: data } as Part;
  }
  if (!keep) return { type: 'input_image', image_url: await dataUrl(file) };
  const form = new FormData();
  form.append('purpose', 'vision');
  form.append('file', file, name);
  const made = (await (await send('POST', '/v1/files', form)).json()) as { id: string };
  return { type: 'input_image', file_id: made.id };
}

function dataUrl(blob: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}
