/**
 * A form that is being sent: whether it is under way, and which field the server's error is about.
 *
 *     const form = new Form(['name', 'scope.ip_ranges']);
 *     if (await form.run(() => post(…))) open = false;
 */
import { ApiError } from '../../lib/api';

/** Whether an error's `param` is about a field: the field itself, or something in it. */
export function concerns(param: string | null, field: string): boolean {
  if (param === null) return false;
  return param === field || param.startsWith(`${field}.`) || param.startsWith(`${field}[`);
}

export class Form {
  busy = $state(false);
  failure = $state.raw<unknown>();
  #fields: readonly string[];

  constructor(fields: readonly string[]) {
    this.#fields = fields;
  }

  /** What the server holds against a field. */
  at(field: string): string | null {
    const failure = this.failure;
    return failure instanceof ApiError && concerns(failure.param, field) ? failure.message : null;
  }

  /** What went wrong and is about no field of the form. */
  get rest(): unknown {
    return this.#fields.some((field) => this.at(field) !== null) ? undefined : this.failure;
  }

  /** Say at a field what is wrong with it; nothing was sent. */
  refuse(field: string, message: string): void {
    this.failure = new ApiError(0, message, null, field);
  }

  /** Do it; whether it was done. */
  async run(work: () => Promise<unknown>): Promise<boolean> {
    this.busy = true;
    this.failure = undefined;
    try {
      await work();
      return true;
    } catch (error) {
      this.failure = error;
      return false;
    } finally {
      this.busy = false;
    }
  }
}
