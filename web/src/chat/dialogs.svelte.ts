/** Which dialog about a conversation is open; the page shows it. */
import type { MenuItem } from '../ui/Menu.svelte';
import Download from '@lucide/svelte/icons/download';
import Folder from '@lucide/svelte/icons/folder';
import Pencil from '@lucide/svelte/icons/pencil';
import Pin from '@lucide/svelte/icons/pin';
import Share2 from '@lucide/svelte/icons/share-2';
import Trash2 from '@lucide/svelte/icons/trash-2';

import { t } from '../lib/i18n.svelte';
import { toastError } from '../lib/toasts.svelte';
import { exportTalk } from './export';
import { talks, type Entry } from './list.svelte';

export type DialogKind = 'rename' | 'folder' | 'share' | 'delete' | 'help' | 'settings';

class Dialogs {
  kind = $state<DialogKind | null>(null);
  entry = $state.raw<Entry | null>(null);

  show(kind: DialogKind, entry: Entry | null = null): void {
    this.entry = entry;
    this.kind = kind;
  }
}

export const dialogs = new Dialogs();

/** What can be done with a conversation. */
export function actionsFor(entry: Entry): MenuItem[] {
  const save = (form: 'markdown' | 'json') => () => void exportTalk(entry.talk, form).catch(toastError);
  return [
    { label: t('chat:rename'), icon: Pencil, run: () => dialogs.show('rename', entry) },
    {
      label: entry.pinned ? t('chat:unpin') : t('chat:pin'),
      icon: Pin,
      run: () => void talks.changeAll(entry.root, { pinned: entry.pinned ? null : '1' }).catch(toastError),
    },
    { label: t('chat:toFolder'), icon: Folder, run: () => dialogs.show('folder', entry) },
    { label: t('chat:share'), icon: Share2, run: () => dialogs.show('share', entry) },
    { label: t('chat:exportMarkdown'), icon: Download, run: save('markdown') },
    { label: t('chat:exportJson'), icon: Download, run: save('json') },
    { label: t('chat:delete'), icon: Trash2, danger: true, run: () => dialogs.show('delete', entry) },
  ];
}
