/**
 * Markdown of one block → nodes, sanitised after everything else has been done to them.
 *
 * The text comes from models and from whoever wrote to them. markdown-it knows no HTML, DOMPurify admits the few
 * elements that it makes, no ids, no styles and no addresses but the web's and those of e-mail; nodes, not text, are
 * handed on, so that nothing is parsed again.
 */
import DOMPurify, { type Config } from 'dompurify';

import type { References } from './blocks';
import { dress } from './dress';
import { highlighted, mathematics } from './lazy.svelte';
import { OWN_PICTURE, parser } from './parser';

const ELEMENTS = ['a', 'blockquote', 'br', 'code', 'del', 'em', 'hr', 'img', 'li', 'ol', 'p', 'pre', 's', 'span'];
const HEADINGS = ['h2', 'h3', 'h4', 'h5', 'h6', 'strong', 'table', 'tbody', 'td', 'th', 'thead', 'tr', 'ul', 'div'];
const MATHS =
  'math mfrac mi mn mo mover mpadded mphantom mroot mrow ms mspace msqrt mstyle msub msubsup msup mtable mtd mtext mtr ' +
  'munder munderover menclose mmultiscripts mprescripts';
const MATHS_ATTRIBUTES =
  'accent accentunder columnalign columnlines columnspacing depth display displaystyle fence height linethickness ' +
  'lspace mathbackground mathcolor mathvariant maxsize minsize movablelimits notation rowlines rowspacing rspace ' +
  'scriptlevel separator stretchy symmetric voffset width xmlns';

const PLAIN = ['alt', 'class', 'data-language', 'data-level', 'data-align', 'start', 'title'].concat(
  MATHS_ATTRIBUTES.split(' '),
);

const SAFE: Config & { RETURN_DOM_FRAGMENT: true } = {
  ALLOWED_TAGS: [...ELEMENTS, ...HEADINGS, ...MATHS.split(' ')],
  ALLOWED_ATTR: ['href', 'src', ...PLAIN],
  // All but these two are no addresses, and are not measured by what addresses may be.
  ADD_URI_SAFE_ATTR: PLAIN,
  ALLOWED_URI_REGEXP: /^(?:https?:\/\/|mailto:|data:image\/(?:png|jpeg|gif|webp);base64,)/i,
  ALLOW_ARIA_ATTR: false,
  ALLOW_DATA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};

export type Rendering = {
  /** The level of headings, one for all: what a model calls the first is not the page's first. */
  heading: 2 | 3 | 4;
  /** More text may follow, so code is not coloured yet. */
  growing: boolean;
  /** What links by reference lead to, from all of the text. */
  references?: References;
};

/** The nodes for a block. Inside an effect it runs again when KaTeX or a language has arrived. */
export function render(source: string, how: Rendering): DocumentFragment {
  const fragment = DOMPurify.sanitize(parser.render(source, { ...how, references: { ...how.references } }), SAFE);
  dress(fragment);
  return fragment;
}

/** A name of a language as somebody wrote it behind the backticks. */
export function languageOf(info: string): string {
  return (/^[\w+#.-]{1,24}/.exec(info.trim())?.[0] ?? '').toLowerCase();
}

const rules = parser.renderer.rules;
const escape = parser.utils.escapeHtml;

function asked(env: unknown): Rendering {
  return env as Rendering;
}

rules.heading_open = (tokens, at, _options, env) =>
  `<h${asked(env).heading} data-level="${tokens[at]?.tag.slice(1) ?? '1'}">`;
rules.heading_close = (_tokens, _at, _options, env) => `</h${asked(env).heading}>`;

rules.fence = (tokens, at, _options, env) => {
  const token = tokens[at];
  const language = languageOf(token?.info ?? '');
  const code = token?.content ?? '';
  const inside = (asked(env).growing ? null : highlighted(code, language)) ?? escape(code);
  return `<pre data-language="${escape(language)}"><code>${inside}</code></pre>\n`;
};
rules.code_block = (tokens, at) => `<pre><code>${escape(tokens[at]?.content ?? '')}</code></pre>\n`;

rules.image = (tokens, at, options, env) => {
  const token = tokens[at];
  const address = String(token?.attrGet('src') ?? '');
  const alt = parser.renderer.renderInlineAsText(token?.children ?? [], options, env);
  if (OWN_PICTURE.test(address)) return `<img src="${escape(address)}" alt="${escape(alt)}">`;
  // Nothing is asked of another host because a text says so: the picture is a link, which somebody may follow.
  return `<a class="elsewhere" href="${escape(address)}">${escape(alt)}</a>`;
};

for (const cell of ['th_open', 'td_open'] as const) {
  rules[cell] = (tokens, at) => {
    const align = /(left|center|right)/.exec(String(tokens[at]?.attrGet('style') ?? ''))?.[0];
    return `<${cell.slice(0, 2)}${align ? ` data-align="${align}"` : ''}>`;
  };
}

rules.mathematics = (tokens, at) => formula(tokens[at]?.content ?? '', tokens[at]?.info === 'display');
rules.mathematics_block = (tokens, at) => `<p>${formula(tokens[at]?.content ?? '', true)}</p>\n`;

function formula(tex: string, display: boolean): string {
  const kind = display ? 'formula display' : 'formula';
  const katex = mathematics();
  if (katex === null) return `<span class="${kind}"><code>${escape(tex)}</code></span>`;
  try {
    const made = katex.renderToString(tex, {
      displayMode: display,
      output: 'mathml',
      throwOnError: true,
      strict: 'ignore',
      trust: false,
      maxExpand: 500,
      maxSize: 20,
    });
    // The source, which KaTeX repeats, would be shown as text; and styles are nothing that the page's policy admits.
    const bare = made.replace(/<annotation[^>]*>[^<]*<\/annotation>/g, '').replace(/ style="[^"]*"/g, '');
    return `<span class="${kind}">${bare}</span>`;
  } catch {
    return `<span class="${kind}"><code>${escape(tex)}</code></span>`;
  }
}
