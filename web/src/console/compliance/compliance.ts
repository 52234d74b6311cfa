/** The compliance report: facts as the API gives them, and what each section of the page says of them. */
import type { Journal } from '../audit/audit';
import type { Retention } from '../settings/settings';

type Held = Omit<Retention, 'deleted'>;

export interface Report {
  generated_at: number;
  version: string;
  organization: { id: string; name: string };
  retention: { organization: Held; projects: ({ project_id: string; name: string } & Held)[] };
  content_filter: {
    policies: { name: string; origin: string; off: boolean; mode: string; deployments: string[] }[];
    unfiltered_deployments: string[];
  };
  access: {
    users: number;
    users_disabled: number;
    service_accounts_with_keys: number;
    owners: number;
    keys: number;
    keys_without_expiry: number;
    oldest_key_created_at: number | null;
    sign_in: { local_accounts: boolean; providers: string[] };
  };
  encryption: {
    master_key: string;
    key_service: boolean;
    content_keys: Partial<Record<'active' | 'revoked' | 'destroyed', number>>;
  };
  audit: Journal;
  residency: { deployment: string; zone: string | null; engine: string; host: string | null }[];
  models: {
    name: string;
    licence: string | null;
    source: string | null;
    sha256: string | null;
    pinned: boolean;
    deployments: string[];
  }[];
  erasures: number;
  policies: { sha256: string; names: string[] };
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
  const remote = report.residency.filter((each) => each.host !== null);
  const unknown = report.models.filter((each) => !each.licence);
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
          count: report.retention.projects.filter((each) => each.effective.zero).length,
          of: report.retention.projects.length,
        }),
    said('encrypted', (encryption.content_keys.revoked ?? 0) > 0 ? 'notice' : 'good', '/console/settings/encryption', {
      name: encryption.master_key,
      active: encryption.content_keys.active ?? 0,
      revoked: encryption.content_keys.revoked ?? 0,
      destroyed: encryption.content_keys.destroyed ?? 0,
    }),
    access.keys_without_expiry === 0
      ? said('keysEnd', 'good', '/console/keys', { count: access.keys })
      : said('keysEndless', 'attention', '/console/keys', { count: access.keys_without_expiry, of: access.keys }),
    said('people', access.owners > 0 ? 'good' : 'attention', '/console/people', {
      users: access.users,
      owners: access.owners,
      programs: access.service_accounts_with_keys,
    }),
    remote.length === 0
      ? said('local', 'good', '/console/deployments', { count: report.residency.length })
      : said('remote', 'notice', '/console/deployments', {
          names: remote.map((each) => `${each.deployment} (${each.host})`).join(', '),
        }),
    report.models.length > 0 &&
      (unknown.length === 0
        ? said('licensed', 'good', '/console/models', { count: report.models.length })
        : said('unlicensed', 'attention', '/console/models', { names: unknown.map((each) => each.name).join(', ') })),
    report.models.length > 0 &&
      (unpinned.length === 0
        ? said('pinned', 'good', '/console/models', { count: report.models.length })
        : said('unpinned', 'notice', '/console/models', { names: unpinned.map((each) => each.name).join(', ') })),
    said('policies', report.policies.names.length > 0 ? 'good' : 'notice', '/console/settings/policies', {
      count: report.policies.names.length,
    }),
    said('erasures', 'good', '/console/settings/erasure', { count: report.erasures }),
  ];
  return made.filter((each) => each !== false);
}

function said(id: string, standing: Standing, href: string, values: Statement['values'] = {}): Statement {
  return { id, standing, href, values };
}
