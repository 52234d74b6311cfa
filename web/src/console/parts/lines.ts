/** Answers that come as JSON, one object a line, while something is done. */
import { ApiError, send } from '../../lib/api';

interface Failed {
  error: { message: string; code?: string | null; param?: string | null };
}

/**
 * The objects of such an answer as they come. A line with `error` is thrown as an `ApiError`: the answer had begun,
 * so its status could not say it any more.
 */
export async function* lines<T>(path: string, body: unknown, signal?: AbortSignal): AsyncGenerator<T> {
  const answer = await send('POST', path, body, { signal });
  if (answer.body === null) return;
  const reader = answer.body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      const { whole, left } = split(rest + decoder.decode(value, { stream: !done }), done);
      rest = left;
      for (const line of whole) {
        const found = JSON.parse(line) as T | Failed;
        if (typeof found === 'object' && found !== null && 'error' in found) throw failed(found as Failed, answer);
        yield found as T;
      }
      if (done) return;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

/** The whole lines of a text, and what is left; at the end all of it is lines. */
export function split(text: string, ended: boolean): { whole: string[]; left: string } {
  const parts = text.split('\n');
  const left = ended ? '' : (parts.pop() ?? '');
  return { whole: parts.filter((each) => each.trim() !== ''), left };
}

function failed(found: Failed, answer: Response): ApiError {
  const { message, code, param } = found.error;
  return new ApiError(answer.status, message, code ?? null, param ?? null, answer.headers.get('x-request-id'));
}
