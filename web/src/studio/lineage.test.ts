import { expect, it } from 'vitest';

import { type Branch, isAlone, sameWords, treeOf } from './lineage';
import type { Picture } from './picture';

function picture(id: string, parents: string[] = [], prompt = 'a cat'): Picture {
  const rest = { file: '', model: 'paint', size: '1x1', seed: 1, index: 0, requestId: null, created: 0, name: '' };
  return { ...rest, id, parents, prompt, operation: 'generation', thumbnail: '' };
}

function text(tree: Branch): string {
  const inside = tree.children.map(text).join(' ');
  return `${tree.picture ? tree.id : `(${tree.id})`}${inside && ` [${inside}]`}`;
}

const ROOT = picture('root');
const CHILD = picture('child', ['root']);
const SELF = picture('self', ['child']);
const GRAND = picture('grand', ['young']);
const ALL = [
  GRAND,
  picture('younger', ['self']),
  picture('young', ['self']),
  SELF,
  CHILD,
  ROOT,
  picture('aunt', ['root']),
];

it('leads from the first picture over this one to what was made of it', () => {
  const known = new Map<string, Picture | null>(ALL.map((each) => [each.id, each]));
  expect(text(treeOf(SELF, known, ALL))).toBe('root [child [self [young [grand] younger]]]');
});

it('says where a picture is gone', () => {
  const tree = treeOf(SELF, new Map([['child', null]]), [SELF]);
  expect(text(tree)).toBe('(child) [self]');
});

it('is a single picture where there are no relatives', () => {
  const tree = treeOf(ROOT, new Map(), [ROOT]);
  expect(isAlone(tree)).toBe(true);
});

it('ends where pictures claim to come from each other', () => {
  const one = picture('one', ['two']);
  const two = picture('two', ['one']);
  const known = new Map<string, Picture | null>([
    ['one', one],
    ['two', two],
  ]);
  expect(text(treeOf(one, known, [one, two]))).toBe('two [one [two]]');
});

it('finds the other pictures of the same words', () => {
  const other = picture('other');
  const tree = treeOf(SELF, new Map(), [SELF, GRAND]);
  const all = [other, SELF, GRAND, picture('dog', [], 'a dog'), picture('upload', [], '')];
  expect(sameWords(SELF, tree, all).map((each) => each.id)).toEqual(['other', 'grand']);
});
