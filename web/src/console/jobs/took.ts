/** How long a job has taken, in words; null before it was begun. */
import { duration } from '../../lib/format';
import { tookS, type Job } from './job';

export function took(job: Job, nowS: number): string | null {
  const seconds = tookS(job, nowS);
  if (seconds === null) return null;
  // Jobs tell whole seconds.
  return seconds < 1 ? `< ${duration(1000)}` : duration(seconds * 1000);
}
