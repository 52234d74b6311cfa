import { expect, it } from 'vitest';

import { curves, shareOf, tookS, type Job, type TuningEvent } from './job';

const job: Job = {
  id: 'job_1',
  kind: 'batch',
  subject: 'batch_1',
  state: 'running',
  total: 4,
  done: 1,
  failed: 0,
  attempts: 1,
  created_at: 10,
  started_at: 20,
};

it('tells how far a job is and how long it took', () => {
  expect(shareOf(job)).toBe(0.25);
  expect(shareOf({ ...job, total: 0 })).toBeNull();
  expect(tookS(job, 50)).toBe(30);
  expect(tookS({ ...job, finished_at: 25 }, 50)).toBe(5);
  expect(tookS({ ...job, started_at: undefined }, 50)).toBeNull();
});

it('draws what a training measured, from its first step on', () => {
  const event = (data: Record<string, unknown>, type = 'metrics') => ({ type, data }) as TuningEvent;
  const events = [
    event({ step: 2, train_loss: 1, valid_loss: 1.5 }),
    event({}, 'message'),
    event({ step: 1, train_loss: 2 }),
  ];
  expect(curves(events)).toEqual({
    steps: [1, 2],
    curves: [
      { name: 'train_loss', values: [2, 1] },
      { name: 'valid_loss', values: [null, 1.5] },
    ],
  });
});
