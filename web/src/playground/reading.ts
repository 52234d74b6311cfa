/** Bodies of requests, put into the page's editors. */
import { emptyDraft, message, nextKey, taken, type Draft, type Format, type Json } from './draft';
import { PARAMETERS, write, type Endpoint } from './parameters';

/** Which endpoint a body is for. */
export function endpointOf(body: Json): Endpoint {
  return 'messages' in body ? 'chat' : 'responses';
}

/**
 * A request's body as a draft.
 *
 * @throws Error where it is no body of either endpoint.
 */
export function draftOf(body: Json, endpoint: Endpoint = endpointOf(body)): Draft {
  const draft = emptyDraft(endpoint, typeof body.model === 'string' ? body.model : '');
  draft.values = {};
  let left = body;
  for (const name of EDITED) left = without(left, name);
  draft.messages = endpoint === 'chat' ? chatMessages(body.messages) : inputMessages(body.input);
  for (const parameter of PARAMETERS[endpoint]) {
    const value = taken(body, parameter);
    // An object where the editors have a plain field, such as a conversation by `{"id": …}`, stays as it is.
    if (typeof value === 'object' && value !== null && !['json', 'lines'].includes(parameter.kind)) continue;
    const typed = write(parameter, value);
    if (typed !== '') draft.values[parameter.name] = typed;
    left = without(left, parameter.name);
  }
  if (Array.isArray(body.tools)) draft.tools = (body.tools as Json[]).map((tool) => toolDraft(tool));
  const choice = body.tool_choice;
  if (typeof choice === 'string') draft.toolChoice = choice;
  else if (choice) draft.toolChoice = JSON.stringify(choice);
  const format = endpoint === 'chat' ? body.response_format : (body.text as Json | undefined)?.format;
  if (format) draft.format = formatOf(format as Json);
  draft.rest = without(left, 'text.format');
  return draft;
}

/** What has editors of its own. */
const EDITED = ['model', 'messages', 'input', 'tools', 'tool_choice', 'response_format'];

/** The same without a parameter, and without the object that it was in when nothing else is in that. */
function without(left: Json, name: string): Json {
  const [first = '', second] = name.split('.');
  const outer = left[first];
  const inner =
    second !== undefined && typeof outer === 'object' && outer !== null
      ? Object.entries(outer as Json).filter(([key]) => key !== second)
      : [];
  if (second !== undefined && (typeof outer !== 'object' || outer === null)) return left;
  const others = Object.entries(left).filter(([key]) => key !== first);
  return Object.fromEntries(inner.length > 0 ? [...others, [first, Object.fromEntries(inner)]] : others);
}

function chatMessages(given: unknown): Draft['messages'] {
  if (!Array.isArray(given)) throw new Error('messages');
  return (given as Json[]).map((each) => {
    const made = message('user');
    const known = ['role', 'content', 'tool_calls', 'tool_call_id'];
    const content = contentOf(each.content, 'text', 'image_url');
    const role = each.role;
    const strange = Object.entries(each).some(([key, value]) => !known.includes(key) && value !== null);
    if (strange || content === null || !isRole(role)) return { ...made, raw: each };
    made.role = role;
    made.text = content.text;
    made.pictures = content.pictures;
    made.callId = text(each.tool_call_id);
    made.calls = ((each.tool_calls as Json[] | null | undefined) ?? []).map((call) => {
      const called = (call.function ?? {}) as Json;
      return { id: text(call.id), name: text(called.name), arguments: text(called.arguments) };
    });
    return made;
  });
}

function inputMessages(given: unknown): Draft['messages'] {
  if (given === undefined || given === null) return [];
  if (typeof given === 'string') return [message('user', given)];
  if (!Array.isArray(given)) throw new Error('input');
  const found: Draft['messages'] = [];
  for (const item of given as Json[]) {
    const last = found.at(-1);
    if (item.type === 'function_call') {
      const call = { id: text(item.call_id), name: text(item.name), arguments: text(item.arguments) };
      if (last?.role === 'assistant' && !last.raw) last.calls.push(call);
      else found.push({ ...message('assistant'), calls: [call] });
    } else if (item.type === 'function_call_output' && typeof item.output === 'string') {
      found.push({ ...message('tool', item.output), callId: text(item.call_id) });
    } else {
      const content = contentOf(item.content, 'input_text', 'input_image');
      if (content === null || !isRole(item.role) || item.role === 'tool') found.push({ ...message('user'), raw: item });
      else found.push({ ...message(item.role, content.text), pictures: content.pictures });
    }
  }
  return found;
}

function isRole(role: unknown): role is 'system' | 'developer' | 'user' | 'assistant' | 'tool' {
  return typeof role === 'string' && ['system', 'developer', 'user', 'assistant', 'tool'].includes(role);
}

/** A message's text and pictures; null where it has other parts, which only its JSON can show. */
function contentOf(content: unknown, textType: string, pictureType: string) {
  if (content === null || content === undefined) return { text: '', pictures: [] };
  if (typeof content === 'string') return { text: content, pictures: [] };
  if (!Array.isArray(content)) return null;
  const texts = (content as Json[]).filter((part) => part.type === textType);
  const pictures = (content as Json[]).filter((part) => part.type === pictureType);
  const urls = pictures.map((part) => {
    const place = part.image_url;
    return typeof place === 'object' && place !== null ? (place as Json).url : place;
  });
  const whole = texts.length + pictures.length === content.length && texts.length <= 1;
  if (!whole || urls.some((url) => typeof url !== 'string')) return null;
  return { text: text(texts[0]?.text), pictures: urls as string[] };
}

function toolDraft(tool: Json) {
  const inner = (tool.function ?? tool) as Json;
  const key = nextKey();
  if (tool.type !== 'function') {
    return {
      key,
      type: 'other' as const,
      name: '',
      description: '',
      strict: false,
      json: JSON.stringify(tool, null, 2),
    };
  }
  return {
    key,
    type: 'function' as const,
    name: text(inner.name),
    description: text(inner.description),
    strict: inner.strict === true,
    json: inner.parameters ? JSON.stringify(inner.parameters, null, 2) : '',
  };
}

function formatOf(format: Json): Format {
  const type = format.type as Format['type'];
  const inner = (format.json_schema ?? format) as Json;
  return {
    type,
    name: text(inner.name) || 'answer',
    strict: inner.strict === true,
    schema: inner.schema ? JSON.stringify(inner.schema, null, 2) : '',
  };
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
