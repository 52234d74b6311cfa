/** The units of capacity of deployments, as the API tells of them. */
import type { Deployment, Tone } from '../deployments/deployment';

export interface Share {
  /** Whose; null for everybody's. */
  project: string | null;
  units: number;
  /** In percent, as are all of these. */
  utilization: number;
  bucket_filled: number;
}

/** What one of several gateways takes of a deployment's units, in percent of all of them. */
export interface Part {
  gateway: string;
  utilization: number;
  /** What it may take without asking, in percent of what the buckets hold. */
  held: number;
}

export interface Capacity {
  units: number | null;
  spillover: string | null;
  utilization: number | null;
  bucket_filled: number | null;
  shares: Share[];
  /** Of gateways that share the units, those that take of them; an older server tells of none. */
  gateways?: Part[];
  carried: number | null;
  available: number | null;
  warning: string | null;
}

/** A part of a deployment's units: a row of the page. */
export interface Row extends Share {
  deployment: string;
  capacity: Capacity;
}

export type Measured = Deployment & { capacity?: Capacity | null };

/** A row for each part of the units of each deployment that has some. */
export function rowsOf(deployments: readonly Measured[]): Row[] {
  return deployments.flatMap(({ name, capacity }) =>
    capacity && capacity.units !== null
      ? capacity.shares.map((share) => ({ ...share, deployment: name, capacity }))
      : [],
  );
}

/** How a bucket looks that is so full: from 100 percent on, requests are refused or spill over. */
export function toneOfBucket(filled: number): Tone {
  if (filled >= 100) return 'danger';
  return filled >= 80 ? 'warning' : 'good';
}
