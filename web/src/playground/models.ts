/** The deployments that can be asked, and what they can do. */
import { get } from '../lib/api';

export interface ModelDetails {
  description: string | null;
  task: string;
  default: boolean;
  state: string;
  features: string[];
  input: string[];
  context_length: number | null;
}

export interface Model {
  id: string;
  details?: ModelDetails;
}

/** Those that write texts, the default one first. Without details every deployment may be one. */
export async function textModels(): Promise<Model[]> {
  const listed = await get<{ data: Model[] }>('/v1/models', { details: true });
  return listed.data
    .filter((each) => (each.details?.task ?? 'chat') === 'chat')
    .sort((a, b) => Number(b.details?.default ?? false) - Number(a.details?.default ?? false));
}

/** Whether a deployment can do something, as far as it is known: until its engine was ready once, it is not. */
export function able(model: Model | undefined, feature: string | undefined): boolean {
  const features = model?.details?.features ?? [];
  return feature === undefined || features.length === 0 || features.includes(feature);
}
