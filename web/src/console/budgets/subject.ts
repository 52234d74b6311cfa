/** What the subject of a limit is called. */
import { t } from '../../lib/i18n.svelte';
import { session } from '../../lib/session.svelte';
import { keyName, projectName } from '../parts/names.svelte';
import { EVERY, type Limit } from './limits';

export function subjectName({ scope, id }: Pick<Limit, 'scope' | 'id'>): string {
  if (id === EVERY) return t(`console:budgets.each.${scope}`);
  if (scope === 'organization') return session().organization.id === id ? session().organization.name : id;
  if (scope === 'project') return projectName(id);
  if (scope === 'key') return keyName(id);
  if (scope === 'project_deployment') {
    const [project, ...deployment] = id.split('/');
    return `${projectName(project ?? '')} / ${deployment.join('/')}`;
  }
  return id;
}
