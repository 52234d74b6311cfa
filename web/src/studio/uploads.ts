/** Pictures of somebody's own, taken into the studio to be edited or varied. */
import { t } from '../lib/i18n.svelte';
import { toast } from '../lib/toasts.svelte';
import { navigate } from '../routes';
import { lookAt } from './files';
import { library } from './library.svelte';
import type { Picture } from './picture';

/** What the file field offers. */
export const TAKEN = 'image/png,image/jpeg,image/webp';
/** What fits into a request as base64 beside the rest, in bytes. */
export const MOST_BYTES = 14 * 1024 * 1024;

/** Take a file into the studio; null, with a note, where it is no picture. */
export async function takeFile(file: Blob, name: string, prompt = ''): Promise<Picture | null> {
  if (file.size > MOST_BYTES) {
    toast(t('studio:tooLarge', { name, most: MOST_BYTES / 1024 / 1024 }), { kind: 'error' });
    return null;
  }
  let look;
  try {
    look = await lookAt(file);
  } catch {
    toast(t('studio:noPicture', { name }), { kind: 'error' });
    return null;
  }
  const created = Math.round(Date.now()) / 1000;
  const known = { model: '', seed: null, parents: [], index: 0, requestId: null, created };
  const { picture, failure } = await library.add({ operation: 'upload', prompt, name, ...look, ...known }, file);
  if (failure) toast(t('studio:notKept'), { kind: 'error' });
  return picture;
}

/** Take the first of some files, and go to its page. */
export async function takeFiles(files: FileList | null | undefined): Promise<void> {
  const file = files?.[0];
  if (!file) return;
  const picture = await takeFile(file, file.name);
  if (picture) await navigate('/studio/:id', { params: { id: picture.id } });
}
