/** What the chat reads of the public API: conversations, their items, responses and models. */

export interface Conversation {
  id: string;
  created_at: number;
  metadata: Record<string, string>;
  /** Told where the list is asked with `shared`. */
  shared?: boolean;
  owner?: { id: string; name: string | null };
}

export interface Share {
  shared: boolean;
  mine: boolean;
  owner: { id: string; name: string | null };
}

export interface Part {
  type: string;
  text?: string;
  refusal?: string;
  image_url?: string | null;
  file_id?: string | null;
  filename?: string | null;
}

/** An item of a conversation or of a response's output; which fields there are depends on the type. */
export interface Item {
  id: string;
  type: string;
  role?: string;
  status?: string;
  content?: Part[] | string | null;
  summary?: Part[];
  name?: string;
  arguments?: string;
  output?: unknown;
  error?: unknown;
  call_id?: string;
  server_label?: string;
  approval_request_id?: string;
  approve?: boolean;
  result?: string | null;
}

export interface Answer {
  id: string;
  status: 'queued' | 'in_progress' | 'completed' | 'incomplete' | 'failed' | 'cancelled';
  model: string;
  output: Item[];
  error: { code: string; message: string } | null;
  incomplete_details: { reason: string } | null;
  usage?: { input_tokens: number; output_tokens: number };
}

/** An event of a response's stream. */
export interface StreamEvent {
  type: string;
  sequence_number: number;
  response?: Answer;
  output_index?: number;
  item_id?: string;
  item?: Item;
  delta?: string;
  partial_image_b64?: string;
  code?: string | null;
  message?: string;
}

export interface ModelDetails {
  description: string | null;
  aliases: string[];
  model: string;
  task: 'chat' | 'embeddings' | 'images';
  default: boolean;
  state: string;
  operations: string[];
  features: string[];
  input: string[];
  output: string[];
  context_length: number | null;
  sizes: string[];
}

export interface Model {
  id: string;
  details?: ModelDetails;
}

/** What a message is sent with. */
export interface Settings {
  instructions: string;
  temperature: number | null;
  topP: number | null;
  maxTokens: number | null;
}

export const PLAIN: Settings = { instructions: '', temperature: null, topP: null, maxTokens: null };

/** Something that is sent along with a message. */
export interface Attachment {
  key: number;
  name: string;
  kind: 'text' | 'picture';
  size: number;
  file: File;
}
