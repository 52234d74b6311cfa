/** What went wrong with a message, in the reader's words: what it was, and what can be done. */
import { ApiError } from '../lib/api';
import { duration } from '../lib/format';
import { t } from '../lib/i18n.svelte';

export interface Trouble {
  title: string;
  text: string;
  /** Whether the same may be tried again as it is. */
  again: boolean;
}

const CATEGORIES = [
  'hate',
  'sexual',
  'violence',
  'self_harm',
  'jailbreak',
  'indirect_attack',
  'custom_blocklists',
  'personally_identifiable_information',
  'secrets',
];
const SEVERITIES = ['low', 'medium', 'high'];

/** A call that failed. */
export function troubleOf(error: unknown): Trouble {
  if (!(error instanceof ApiError)) return unknown(error instanceof Error ? error.message : String(error));
  if (error.code === 'network')
    return { title: t('chat:trouble.network'), text: t('chat:trouble.networkText'), again: true };
  if (error.code === 'content_filter') return refused(blocked(error.detail));
  if (error.status === 429) return limited(error.message, error.retryAfterS);
  if (error.code === 'zero_data_retention') {
    return { title: t('chat:trouble.zeroRetention'), text: t('chat:trouble.zeroRetentionText'), again: false };
  }
  return unknown(error.message);
}

/** A response that failed on its way. */
export function failureOf(error: { code: string; message: string } | null): Trouble {
  if (error === null) return unknown('');
  if (error.code === 'invalid_prompt' && error.message.includes('content management policy')) {
    const found = /Found: (.+)\.$/.exec(error.message)?.[1] ?? '';
    return refused(found.split(', ').flatMap(said));
  }
  if (error.code === 'rate_limit_exceeded') return limited(error.message, null);
  return unknown(error.message);
}

/** An answer that ended before its end; null where it did not. */
export function cutOf(reason: string | null): Trouble | null {
  if (reason === 'content_filter')
    return { title: t('chat:trouble.cut'), text: t('chat:trouble.cutText'), again: false };
  if (reason === 'max_output_tokens') {
    return { title: t('chat:trouble.length'), text: t('chat:trouble.lengthText'), again: false };
  }
  return null;
}

interface Finding {
  category: string;
  severity: string | null;
}

function refused(findings: Finding[]): Trouble {
  const named = findings.map(({ category, severity }) => {
    const name = CATEGORIES.includes(category) ? t(`chat:filter.${category}`) : category;
    if (severity === null) return name;
    const level = SEVERITIES.includes(severity) ? t(`chat:severity.${severity}`) : severity;
    return t('chat:filter.withSeverity', { name, level });
  });
  const why = named.length === 0 ? '' : `${t('chat:trouble.refusedWhy', { found: named.join(', ') })} `;
  return { title: t('chat:trouble.refused'), text: why + t('chat:trouble.refusedText'), again: false };
}

/** What an error of the content filter says it found: `innererror.content_filter_result`. */
function blocked(detail: Record<string, unknown>): Finding[] {
  const inner = detail.innererror as { content_filter_result?: Record<string, unknown> } | undefined;
  return Object.entries(inner?.content_filter_result ?? {}).flatMap(([category, value]) => {
    const found = value as { filtered?: boolean; severity?: string };
    return found.filtered ? [{ category, severity: found.severity ?? null }] : [];
  });
}

/** "violence (high)". */
function said(text: string): Finding[] {
  const found = /^(\w+)(?: \((\w+)\))?$/.exec(text.trim());
  return found?.[1] ? [{ category: found[1], severity: found[2] ?? null }] : [];
}

function limited(message: string, afterS: number | null): Trouble {
  const when =
    afterS === null ? t('chat:trouble.limitedText') : t('chat:trouble.limitedWhen', { when: duration(afterS * 1000) });
  return { title: t('chat:trouble.limited'), text: `${when} ${message}`, again: true };
}

function unknown(message: string): Trouble {
  return { title: t('chat:trouble.failed'), text: message || t('chat:trouble.failedText'), again: true };
}
