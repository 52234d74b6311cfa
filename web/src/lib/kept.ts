/** What the browser keeps for somebody between visits: choices and drafts. Browsers may refuse; then nothing is kept. */
const PREFIX = 'freehold.';

export function kept(name: string): string | null {
  try {
    return localStorage.getItem(PREFIX + name);
  } catch {
    return null;
  }
}

/** Keep a text under a name; null takes it away. */
export function keep(name: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(PREFIX + name);
    else localStorage.setItem(PREFIX + name, value);
  } catch {
    // Full, or forbidden in a private window: the page works without.
  }
}

/** A value that was kept as JSON; `otherwise` where there is none, or none that can be read. */
export function keptJson<T>(name: string, otherwise: T): T {
  const text = kept(name);
  if (text === null) return otherwise;
  try {
    return JSON.parse(text) as T;
  } catch {
    return otherwise;
  }
}

export function keepJson(name: string, value: unknown): void {
  keep(name, JSON.stringify(value));
}

/** Take away all that is kept of content: drafts and the like. For signing out on a shared machine. */
export function forgetContent(): void {
  try {
    for (const name of Object.keys(localStorage)) {
      if (name.startsWith(PREFIX) && !['language', 'theme'].includes(name.slice(PREFIX.length))) {
        localStorage.removeItem(name);
      }
    }
  } catch {
    // Nothing is kept where it is forbidden.
  }
}
