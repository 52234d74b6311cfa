import { expect, it } from 'vitest';

import { actorOf, auditQuery, NOTHING, type AuditRecord } from './audit';

it('asks for nothing that was not asked', () => {
  expect(Object.entries(auditQuery(NOTHING)).filter(([, value]) => value !== null && value !== undefined)).toEqual([
    ['limit', 50],
  ]);
});

it('asks for whole days', () => {
  const query = auditQuery({ ...NOTHING, since: '2026-03-01', until: '2026-03-01', event: 'project.*' }, 'audit_log-1');
  expect(Number(query.until) - Number(query.since)).toBe(86_400);
  expect([query.event, query.after]).toEqual(['project.*', 'audit_log-1']);
});

it('names whoever did it', () => {
  const record = { principal: 'user_1', principal_name: null } as AuditRecord;
  expect(actorOf(record)).toBe('user_1');
  expect(actorOf({ ...record, principal_name: 'ann@example.org' })).toBe('ann@example.org');
  expect(actorOf({ ...record, principal: '' })).toBe('–');
});
