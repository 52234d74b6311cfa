import { expect, it, vi } from 'vitest';

import { fileName, markdownOf } from './export';

// The names of the words stand for the words, which are fetched in a browser.
vi.mock('../lib/i18n.svelte', () => ({ t: (key: string) => key }));

it('what was sent along is named where it was sent', () => {
  const content = [
    { type: 'input_file', filename: 'plan.md' },
    { type: 'input_image', file_id: 'file_1' },
    { type: 'input_image', image_url: 'data:image/png;base64,AA==' },
    { type: 'input_text', text: 'Look.' },
  ];
  const text = markdownOf('Tea', [{ id: 'u', type: 'message', role: 'user', content }]);
  expect(text).toBe(
    '# Tea\n\n## chat:you\n\n' + '[chat:file: plan.md]\n\n[chat:picture: file_1]\n\n[chat:picture]\n\nLook.\n',
  );
});

it('names of files are cut between letters', () => {
  expect(fileName('𝒯'.repeat(90))).toBe('𝒯'.repeat(80));
});
