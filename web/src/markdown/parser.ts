/** Markdown as the pages read it: CommonMark with tables and strikethrough, no HTML, and mathematics in TeX. */
import MarkdownIt from 'markdown-it';

import { addMathematics } from './mathematics';

/** Where links may lead. Everything else stays the text that it was written as. */
const LINK = /^(?:https?:\/\/|mailto:)/i;
/** Pictures that are in the text itself. */
export const OWN_PICTURE = /^data:image\/(?:png|jpeg|gif|webp);base64,[a-z0-9+/=]+$/i;

export const parser = new MarkdownIt('default', { html: false, linkify: true, typographer: false, breaks: false });
parser.validateLink = (address) => LINK.test(address.trim()) || OWN_PICTURE.test(address.trim());
parser.linkify.set({ fuzzyLink: false, fuzzyEmail: false, fuzzyIP: false });
parser.use(addMathematics);
