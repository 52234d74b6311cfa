/** The compliance report: facts as the API gives them, and what each section of the page says of them. */
import type { Journal } from '../audit/audit';
import type { Retention } from '../settings/settings';

export interface Report {
  generated_at: number;
  version: string;
  retention: {
    organization: Retention;
    projects: { project_id: string; name: string; type: string; zero: boolean; keep_s: Record<string, number> }[];
  };
  content_filter: {
    policies: { name: string; sha256: string; origin: string; deployments: string[] }[];
    unfiltered_deployments: string[];
  };
  access: {
    users: number;
    service_accounts: number;
    keys: number;
    keys_without_expiry: number;
    oldest_key_created_at: number | null;
    owners: number;
    sign_in: string[];
  };
  encryption: {
    master_key: { name: string; provider: string };
    content_keys: { active: number; revoked: number; destroyed: number };
    oldest_key_created_at: number | null;
  };
  audit: Omit<Journal, 'public_key'>;
  residency: { deployment: string; zone: string | null; remote: boolean; host: string | null }[];
  models: {
    name: string;
    license: string | null;
    origin?: string | null;
    source?: string | null;
    sha256: string | null;
    pinned: boolean;
    deployments: string[];
  }[];
  erasures: number;
  policies: { sha256: string; count: number };
}

export type Standing = 'good' | 'notice' | 'attention';

export interface Statement {
  id: string;
  standing: Standing;
  values: Record<string, string | number>;
  /** Where in the console the evidence is. */
  href: string;
}

/** What can be said of the facts, one statement a subject; the texts are the page's. */
export function statements(report: Report): Statement[] {
  const { access, audit, content_filter: filter, encryption } = report;
  const remote = report.residency.filter((each) => each.remote);
  const unknown = report.models.filter((each) => !each.license);
  const unpinned = report.models.filter((each) => !each.pinned);
  const made: (Statement | false)[] = [
    audit.state === 'unavailable'
      ? said('auditDown', 'attention', '/console/audit/integrity')
      : said(
          {
            intact: 'auditIntact',
            damaged: 'auditDamaged',
            failed: 'auditFailed',
            running: 'auditRunning',
            never: 'auditNever',
          }[audit.verification?.state ?? 'never'],
          ({ intact: 'good', damaged: 'attention', failed: 'attention' } as const)[
            (audit.verification?.state ?? 'never') as 'intact' | 'damaged' | 'failed'
          ] ?? 'notice',
          '/console/audit/integrity',
          { records: audit.records },
        ),
    filter.unfiltered_deployments.length === 0
      ? said('filtered', 'good', '/console/filters', { count: filter.policies.length })
      : said('unfiltered', 'attention', '/console/filters', { names: filter.unfiltered_deployments.join(', ') }),
    report.retention.organization.effective.zero
      ? said('zero', 'good', '/console/settings/retention')
      : said('kept', 'notice', '/console/settings/retention', {
          count: report.retention.projects.filter((each) => each.zero).length,
          of: report.retention.projects.length,
        }),
    said('encrypted', encryption.content_keys.revoked > 0 ? 'notice' : 'good', '/console/settings/encryption', {
      name: encryption.master_key.name,
      active: encryption.content_keys.active,
      revoked: encryption.content_keys.revoked,
      destroyed: encryption.content_keys.destroyed,
    }),
    access.keys_without_expiry === 0
      ? said('keysEnd', 'good', '/console/keys', { count: access.keys })
      : said('keysEndless', 'attention', '/console/keys', { count: access.keys_without_expiry, of: access.keys }),
    said('people', access.owners > 0 ? 'good' : 'attention', '/console/people', {
      users: access.users,
      owners: access.owners,
      programs: access.service_accounts,
    }),
    remote.length === 0
      ? said('local', 'good', '/console/deployments', { count: report.residency.length })
      : said('remote', 'notice', '/console/deployments', {
          names: remote.map((each) => `${each.deployment} (${each.host ?? '?'})`).join(', '),
        }),
    report.models.length > 0 &&
      (unknown.length === 0
        ? said('licensed', 'good', '/console/models', { count: report.models.length })
        : said('unlicensed', 'attention', '/console/models', { names: unknown.map((each) => each.name).join(', ') })),
    report.models.length > 0 &&
      (unpinned.length === 0
        ? said('pinned', 'good', '/console/models', { count: report.models.length })
        : said('unpinned', 'notice', '/console/models', { names: unpinned.map((each) => each.name).join(', ') })),
    said('policies', report.policies.count > 0 ? 'good' : 'notice', '/console/settings/policies', {
      count: report.policies.count,
    }),
    said('erasures', 'good', '/console/settings/erasure', { count: report.erasures }),
  ];
  return made.filter((each) => each !== false);
}

function said(id: string, standing: Standing, href: string, values: Statement['values'] = {}): Statement {
  return { id, standing, href, values };
}
