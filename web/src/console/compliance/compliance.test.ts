import { describe, expect, it } from 'vitest';

import { statements, type Report } from './compliance';

const EFFECTIVE = { zero: false, store: false, keep_s: {} };
const HELD = { type: 'none' as const, store: null, keep_s: {}, effective: EFFECTIVE };
const REPORT: Report = {
  generated_at: 1,
  version: '0.1.0',
  organization: { id: 'org', name: 'Org' },
  retention: {
    organization: HELD,
    projects: [{ project_id: 'p', name: 'P', ...HELD, effective: { ...EFFECTIVE, zero: true } }],
  },
  content_filter: { policies: [], unfiltered_deployments: [] },
  access: {
    users: 2,
    users_disabled: 0,
    service_accounts_with_keys: 1,
    keys: 3,
    keys_without_expiry: 0,
    oldest_key_created_at: null,
    owners: 1,
    sign_in: { local_accounts: true, providers: [] },
  },
  encryption: { master_key: 'local:1', key_service: false, content_keys: { active: 1 } },
  audit: {
    writer: 'main',
    state: 'ok',
    reason: null,
    records: 9,
    segments: 1,
    size_bytes: 100,
    checkpoint: null,
    verification: null,
  },
  residency: [{ deployment: 'chat', zone: null, engine: 'llamacpp', host: null }],
  models: [],
  erasures: 0,
  policies: { sha256: 'x', names: ['modest'] },
};
const standing = (report: Report) => Object.fromEntries(statements(report).map((each) => [each.id, each.standing]));

describe('statements', () => {
  it('says that all is well where it is', () => {
    expect(standing(REPORT)).toEqual({
      auditNever: 'notice',
      filtered: 'good',
      kept: 'notice',
      encrypted: 'good',
      keysEnd: 'good',
      people: 'good',
      local: 'good',
      policies: 'good',
      erasures: 'good',
    });
  });

  it('names what needs attention', () => {
    const found = standing({
      ...REPORT,
      audit: {
        ...REPORT.audit,
        verification: {
          state: 'damaged',
          started_at: 1,
          finished_at: 2,
          records: 3,
          checkpoints: 0,
          problem: 'edited',
        },
      },
      content_filter: { policies: [], unfiltered_deployments: ['raw'] },
      access: { ...REPORT.access, keys_without_expiry: 2 },
      models: [{ name: 'm', licence: null, source: null, sha256: null, pinned: false, deployments: [] }],
    });
    expect(found).toMatchObject({
      auditDamaged: 'attention',
      unfiltered: 'attention',
      keysEndless: 'attention',
      unlicensed: 'attention',
      unpinned: 'notice',
    });
  });

  it('says where data go that leave the machine', () => {
    const residency = [{ deployment: 'partner', zone: 'us', engine: 'remote', host: 'api.example.com' }];
    const found = statements({ ...REPORT, residency }).find((each) => each.id === 'remote');
    expect(found?.values.names).toBe('partner (api.example.com)');
  });
});
