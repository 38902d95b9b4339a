// The client that the client scenarios of the suite run: a gateway before the scenario's server, and
// a small client on the gateway's stdio, which asks for what the scenario wants to see.
//
// Usage: client.mjs WAYPOST URL, where the suite adds the URL and sets MCP_CONFORMANCE_SCENARIO,
// MCP_CONFORMANCE_PROTOCOL_VERSION and, for some, MCP_CONFORMANCE_CONTEXT.
//
// On stdio no headers are sent and no streams are read: whatever the scenario finds in a request or
// in how a stream is taken up again is the work of the gateway.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

const [waypost, url] = process.argv.slice(2);
const scenario = process.env.MCP_CONFORMANCE_SCENARIO;
const version = process.env.MCP_CONFORMANCE_PROTOCOL_VERSION;
const context = JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT ?? '{}');
const modern = version >= '2026-07-28';

const WAIT = 10_000; // ms for one answer, and for the upstream to be there
const STOP = 5_000; // ms for the gateway to end
const PAUSE = 50; // ms between two looks

const info = { name: 'conformance-client', version: '1' };
const capabilities = { elicitation: {}, sampling: {}, roots: {} };
const META = 'io.modelcontextprotocol/';
const meta = {
  [`${META}protocolVersion`]: version,
  [`${META}clientInfo`]: info,
  [`${META}clientCapabilities`]: capabilities
};

// One server behind the gateway, whose names stay as they are, and nothing of the gateway's own.
const config = `
[tools.echo]
enabled = false
[tools.weather]
enabled = false
[tools.context7]
enabled = false
[tools.gateway]
enabled = false
[upstreams.scenario]
prefix = ""
[[upstreams.scenario.replicas]]
url = ${JSON.stringify(url)}
`;

class Client {
  #waiting = new Map(); // id to how its answer is taken
  #next = 1;

  constructor(gateway) {
    this.gateway = gateway;
    createInterface({ input: gateway.stdout }).on('line', (line) => this.#take(JSON.parse(line)));
  }

  #send(message) {
    this.gateway.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
  }

  #take(message) {
    if (message.method !== undefined) {
      if (message.id !== undefined) this.#send({ id: message.id, result: answer(message) });
      return;
    }
    this.#waiting.get(message.id)?.(message);
    this.#waiting.delete(message.id);
  }

  // The result, or an error.
  async request(method, params = {}) {
    const id = this.#next++;
    const answered = new Promise((resolve) => this.#waiting.set(id, resolve));
    this.#send({ id, method, params: modern ? { ...params, _meta: meta } : params });
    const late = sleep(WAIT, undefined, { ref: false }).then(() => {
      throw new Error(`no answer to ${method} within ${WAIT} ms`);
    });
    const { result, error } = await Promise.race([answered, late]);
    if (error) throw new Error(`${method}: ${JSON.stringify(error)}`);
    return result;
  }

  notify(method) {
    this.#send({ method });
  }

  // The same, answering what the server asks instead of a result (MRTR).
  async asking(method, params) {
    let result = await this.request(method, params);
    while (result.resultType === 'input_required') {
      const { inputRequests = {}, requestState } = result;
      const inputResponses = Object.fromEntries(
        Object.entries(inputRequests).map(([key, request]) => [key, answer(request)])
      );
      const state = requestState === undefined ? {} : { requestState };
      result = await this.request(method, { ...params, inputResponses, ...state });
    }
    return result;
  }

  call(name, args = {}) {
    return this.asking('tools/call', { name, arguments: args });
  }

  // The list, once it has something: the gateway is ready before its upstreams are.
  async list(method, key) {
    const until = Date.now() + WAIT;
    while (Date.now() < until) {
      const listed = (await this.request(method))[key];
      if (listed.length > 0) return listed;
      await sleep(PAUSE);
    }
    throw new Error(`${method} was empty for ${WAIT} ms`);
  }

  async tools() {
    return this.list('tools/list', 'tools');
  }
}

// A user who accepts what is offered: the defaults of a form (SEP-1034), else something that fits.
function answer({ method, params }) {
  if (method !== 'elicitation/create') return method === 'roots/list' ? { roots: [] } : {};
  const fits = { boolean: true, string: 'text', integer: 1, number: 1 };
  const fields = Object.entries(params.requestedSchema?.properties ?? {});
  const content = Object.fromEntries(
    fields.map(([name, field]) => [name, field.default ?? fits[field.type]])
  );
  return { action: 'accept', content };
}

const text = (result) => result.content[0].text;
const names = (tools) => tools.map((tool) => tool.name).sort();

const scenarios = {
  // The server has nothing: that the gateway has greeted it shows by its passing a call on.
  initialize: (client) => client.call('anything'),
  'request-metadata': (client) => client.call('anything'),

  async tools_call(client) {
    assert.deepEqual(names(await client.tools()), ['add_numbers']);
    assert.equal(text(await client.call('add_numbers', { a: 5, b: 3 })), 'The sum of 5 and 3 is 8');
  },

  async 'elicitation-sep1034-client-defaults'(client) {
    await client.tools();
    assert.match(text(await client.call('test_client_elicitation_defaults')), /completed.*John Doe/);
  },

  async 'sse-retry'(client) {
    await client.tools();
    assert.match(text(await client.call('test_reconnection')), /completed successfully/);
  },

  async 'sep-2322-client-request-state'(client) {
    await client.tools();
    // At once, so that what belongs to one call could get into another.
    const tools = ['echo_state', 'no_state', 'unrelated', 'no_result_type'];
    const results = await Promise.all(tools.map((tool) => client.call(`test_mrtr_${tool}`)));
    for (const result of results) assert.match(text(result), /ok$/);
  },

  async 'http-standard-headers'(client) {
    for (const { name } of await client.tools()) await client.call(name);
    for (const { uri } of await client.list('resources/list', 'resources')) {
      await client.asking('resources/read', { uri });
    }
    for (const { name } of await client.list('prompts/list', 'prompts')) {
      await client.asking('prompts/get', { name });
    }
  },

  async 'http-custom-headers'(client) {
    await client.tools();
    for (const { name, arguments: args } of context.toolCalls) await client.call(name, args);
  },

  async 'http-invalid-tool-headers'(client) {
    const tools = names(await client.tools());
    for (const name of tools) await client.call(name, { region: 'us-west1' });
    assert.deepEqual(tools, ['valid_tool']);
  },

  async 'json-schema-ref-no-deref'(client) {
    assert.deepEqual(names(await client.tools()), ['lookup_user']);
  },

  async 'json-schema-2020-12-preservation'(client) {
    const tools = await client.tools();
    const focal = tools.find((tool) => tool.inputSchema.$schema);
    const echo = tools.find((tool) => tool !== focal);
    await client.call(echo.name, { schema: focal.inputSchema });
  }
};

const folder = mkdtempSync(join(tmpdir(), 'waypost-conformance-client-'));
writeFileSync(join(folder, 'gateway.toml'), config);
const gateway = spawn(waypost, ['stdio', '--config', join(folder, 'gateway.toml')], {
  stdio: ['pipe', 'pipe', 'inherit']
});
const ended = new Promise((resolve) => gateway.on('exit', resolve));
try {
  const client = new Client(gateway);
  if (!modern) {
    await client.request('initialize', { protocolVersion: version, capabilities, clientInfo: info });
    client.notify('notifications/initialized');
  }
  await scenarios[scenario](client);
} finally {
  gateway.stdin.end();
  const late = sleep(STOP, undefined, { ref: false }).then(() => gateway.kill('SIGKILL'));
  await Promise.race([ended, late]);
  rmSync(folder, { recursive: true });
}
