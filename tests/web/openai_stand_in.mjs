// Stands in for the npm package `openai`, which is not among the dependencies: sends what it is given as that does.
class Client {
  constructor(options) {
    this.options = options;
    const send = (path) => (body) => this.post(path, body);
    this.chat = { completions: { create: send('/chat/completions') } };
    this.responses = { create: send('/responses') };
  }

  async post(path, body) {
    const answer = await fetch(this.address(path, body), {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...this.credentials() },
      body: JSON.stringify(body),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(text);
    if (!body.stream) return JSON.parse(text);
    const data = text.split('\n').filter((line) => line.startsWith('data: {'));
    return data.map((line) => JSON.parse(line.slice(6)));
  }
}

export default class OpenAI extends Client {
  address(path) {
    return this.options.baseURL + path;
  }

  credentials() {
    return { authorization: `Bearer ${this.options.apiKey}` };
  }
}

export class AzureOpenAI extends Client {
  address(path, body) {
    const { endpoint, apiVersion } = this.options;
    const deployment = path === '/responses' ? '' : `/deployments/${body.model}`;
    return `${endpoint}/openai${deployment}${path}?api-version=${apiVersion}`;
  }

  credentials() {
    return { 'api-key': this.options.apiKey };
  }
}
