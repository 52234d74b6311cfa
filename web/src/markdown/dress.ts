/** What sanitised nodes get from the page: safe links, a copy button for code, and room to scroll. */
import { t } from '../lib/i18n.svelte';
import { toast } from '../lib/toasts.svelte';

const SAYS_MS = 1600;

export function dress(fragment: DocumentFragment): void {
  for (const link of fragment.querySelectorAll('a')) dressLink(link);
  for (const table of fragment.querySelectorAll('table')) {
    table.replaceWith(scrolling(table, t('shell:table')));
  }
  for (const code of fragment.querySelectorAll('pre')) dressCode(code);
}

function dressLink(link: HTMLAnchorElement): void {
  const address = link.getAttribute('href');
  if (address === null) {
    link.replaceWith(...link.childNodes);
    return;
  }
  link.target = '_blank';
  link.rel = 'noopener noreferrer nofollow';
  link.title = address;
  if (!link.classList.contains('elsewhere')) return;
  const host = URL.canParse(address) ? new URL(address).host : address;
  const text = link.textContent?.trim() ?? '';
  link.textContent = text ? t('shell:pictureElsewhere', { text, host }) : t('shell:pictureElsewhereBare', { host });
}

function scrolling(element: Element, name: string): HTMLElement {
  const box = document.createElement('div');
  box.className = 'table-scroll';
  box.tabIndex = 0;
  box.setAttribute('role', 'group');
  box.setAttribute('aria-label', name);
  box.append(element.cloneNode(true));
  return box;
}

function dressCode(code: HTMLPreElement): void {
  const language = code.dataset.language;
  const label = document.createElement('span');
  label.textContent = language || t('shell:code');
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = t('shell:copy');
  button.addEventListener('click', () => void copy(button, code.textContent ?? ''));
  const head = document.createElement('div');
  head.className = 'code-head';
  head.append(label, button);
  const box = document.createElement('div');
  box.className = 'code';
  code.replaceWith(box);
  code.tabIndex = 0;
  code.setAttribute('role', 'group');
  code.setAttribute('aria-label', language ? t('shell:codeIn', { language }) : t('shell:code'));
  box.append(head, code);
}

async function copy(button: HTMLButtonElement, text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    toast(t('shell:notCopied'), { kind: 'error' });
    return;
  }
  button.textContent = t('shell:copied');
  setTimeout(() => (button.textContent = t('shell:copy')), SAYS_MS);
}
