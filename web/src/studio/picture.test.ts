import { describe, expect, it } from 'vitest';

import { byAge, entryOf, fileName, type NewPicture, pictureOf, sidesOf, withWords } from './picture';

const CAT: NewPicture = {
  operation: 'edit',
  prompt: 'a cat "with" <b>quotes</b>',
  model: 'paint',
  size: '256x256',
  seed: 7,
  parents: ['msg_1'],
  index: 1,
  requestId: 'req_1',
  created: 1_764_000_000.25,
  name: '',
  thumbnail: 'data:image/webp;base64,UklGRg==',
};

describe('an entry of the history', () => {
  it('is read as it was written', () => {
    expect(pictureOf({ ...entryOf(CAT, 'ig_1'), id: 'msg_2' })).toEqual({ ...CAT, id: 'msg_2', file: 'ig_1' });
  });

  it('does without a small copy', () => {
    const item = entryOf({ ...CAT, thumbnail: '' }, 'ig_1');
    expect(item.content).toHaveLength(1);
    expect(pictureOf({ ...item, id: 'msg_2' })?.thumbnail).toBe('');
  });

  it.each([
    null,
    {},
    { id: 'msg_1', content: 'text' },
    { id: 'msg_1', content: [{ type: 'input_text', text: 'no json' }] },
    { id: 'msg_1', content: [{ type: 'input_text', text: 'null' }] },
    { id: 'msg_1', content: [{ type: 'input_text', text: '{"file":"x","operation":"magic"}' }] },
  ])('is nothing where an item is no picture: %j', (item) => {
    expect(pictureOf(item)).toBeNull();
  });

  it('takes nothing that is of the wrong kind', () => {
    const text = JSON.stringify({
      operation: 'upload',
      file: 'ig',
      prompt: 3,
      size: '9',
      seed: 'x',
      parents: [1, 'a'],
    });
    const image_url = 'https://elsewhere.example/cat.png';
    const content = [
      { type: 'input_text', text },
      { type: 'input_image', image_url },
    ];
    const found = pictureOf({ id: 'msg', content });
    expect(found).toMatchObject({ prompt: '', size: '1x1', seed: null, parents: ['a'], thumbnail: '' });
  });
});

it('sorts newest first, and one request as it was painted', () => {
  const all = [
    { created: 1, index: 0 },
    { created: 2, index: 1 },
    { created: 2, index: 0 },
  ];
  expect(all.sort(byAge).map((each) => `${each.created}.${each.index}`)).toEqual(['2.0', '2.1', '1.0']);
});

it('knows the sides of a size', () => {
  expect(sidesOf('1536x1024')).toEqual([1536, 1024]);
  expect(sidesOf('auto')).toEqual([1, 1]);
});

it.each([
  ['a cat, on red!', '', 1, 'image/png', 'a-cat-on-red-1.png'],
  ['', 'holiday.JPG', null, 'image/jpeg', 'holiday.jpg'],
  ['../../etc/passwd', '', 2, 'image/webp', 'etc-passwd-2.webp'],
  ['???', '', null, 'image/png', 'picture.png'],
  ['größe', '', null, 'image/png', 'größe.png'],
])('names the file of %j %j', (prompt, name, seed, type, expected) => {
  expect(fileName({ prompt, name, seed }, type)).toBe(expected);
});

it('finds pictures by all of some words', () => {
  const pictures = ['a Cat on red', 'a cat on blue', 'a dog'].map((prompt) => ({ prompt, name: '' }));
  const named = { prompt: '', name: 'red-cat.png' };
  const found = (words: string) => withWords([...pictures, named], words).map((each) => each.prompt || each.name);
  expect(found(' red  CAT ')).toEqual(['a Cat on red', 'red-cat.png']);
  expect(found('a dog')).toEqual(['a dog']);
  expect(found(' ')).toHaveLength(4);
  expect(found('bird')).toEqual([]);
});
