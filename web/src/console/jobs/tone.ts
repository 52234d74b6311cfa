/** How the state of a job looks. */
import type { Job } from './job';

type Tone = 'plain' | 'good' | 'warning' | 'danger' | 'accent';
const TONES: Record<string, Tone> = {
  running: 'accent',
  preempted: 'warning',
  paused: 'warning',
  succeeded: 'good',
  failed: 'danger',
};

export function toneOf(job: Job): Tone {
  return TONES[job.state] ?? 'plain';
}
