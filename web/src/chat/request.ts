/** What is sent to have something answered. */
import type { Item, Model, Settings } from './types';

/** What of a conversation an answer depends on. */
export interface Said {
  readonly id: string | null;
  readonly temporary: boolean;
  readonly items: readonly Item[];
  /** What is said now; null where what was said last is answered anew. */
  readonly asked: Item | null;
  readonly settings: Settings;
}

/** The body of a request for an answer by a model; with a `painter`, for a picture. */
export function bodyOf(talk: Said, model: string | undefined, painter: Model | null): Record<string, unknown> {
  const { instructions, temperature, topP, maxTokens } = talk.settings;
  const input = talk.asked === null ? [] : [{ type: 'message', role: 'user', content: talk.asked.content }];
  return {
    model,
    ...(talk.temporary
      ? { store: false, input: [...talk.items.flatMap(sendable), ...input] }
      : { store: true, background: true, conversation: talk.id, ...(input.length > 0 ? { input } : {}) }),
    stream: true,
    truncation: 'auto',
    ...(instructions ? { instructions } : {}),
    ...(temperature === null ? {} : { temperature }),
    ...(topP === null ? {} : { top_p: topP }),
    ...(maxTokens === null ? {} : { max_output_tokens: maxTokens }),
    ...(painter === null
      ? {}
      : {
          tools: [{ type: 'image_generation', model: painter.id, partial_images: 2 }],
          tool_choice: { type: 'image_generation' },
          max_tool_calls: 1, // small models would go on calling
        }),
  };
}

/** An item of a temporary chat as it is sent again: what only the service's store gives a meaning is left out. */
function sendable(item: Item): object[] {
  if (item.type !== 'message') return [];
  const { role, content } = item;
  return [{ type: 'message', role, content }];
}
