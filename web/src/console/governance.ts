/** The pages of the console's second half: access and safety, and the record. Their words are in `governance`. */
import type { ConsolePage } from './pages';

export const GOVERNANCE: readonly ConsolePage[] = [];
