// TypeScript SDK v1: it speaks the 2025-11-25 revision only, so MODE is always legacy.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { WebSocketClientTransport } from '@modelcontextprotocol/sdk/client/websocket.js';
import {
    CreateMessageRequestSchema, ElicitRequestSchema, PromptListChangedNotificationSchema, ResourceListChangedNotificationSchema, ResourceUpdatedNotificationSchema,
    ToolListChangedNotificationSchema
} from '@modelcontextprotocol/sdk/types.js';
import { able, drive, elicited, sampled, target } from './drive.mjs';

const PAGES = 100;

const to = target();
const options = { timeout: to.plan.timeout_seconds * 1000 };
const client = new Client({ name: 'interop-ts-v1', version: '1.0.0' }, { capabilities: able });
client.setRequestHandler(ElicitRequestSchema, async () => elicited(to.plan));
client.setRequestHandler(CreateMessageRequestSchema, async request => sampled(request));
const transport = {
    http: () => new StreamableHTTPClientTransport(new URL(to.url)),
    sse: () => new SSEClientTransport(new URL(to.url)),
    ws: () => new WebSocketClientTransport(new URL(to.url)),
    stdio: () => new StdioClientTransport({ command: to.command, args: to.args })
}[to.transport]();

// The client object does not tell the negotiated revision; the hook that hands it
// to the transport does.
let revision = null;
transport.setProtocolVersion = (original => version => {
    revision = version;
    original?.call(transport, version);
})(transport.setProtocolVersion);

const every = (method, member) => async () => {
    const items = [];
    let cursor;
    for (let page = 0; page < PAGES; page++) {
        const result = await client[method](cursor === undefined ? {} : { cursor }, options);
        items.push(...result[member]);
        cursor = result.nextCursor;
        if (cursor === undefined) return items;
    }
    throw new Error(`${method} never came to its last page`);
};

await drive('ts-v1', to, client, transport, {
    async connect() {
        await client.connect(transport, options);
        return revision;
    },
    list: {
        tools: every('listTools', 'tools'),
        prompts: every('listPrompts', 'prompts'),
        resources: every('listResources', 'resources'),
        templates: every('listResourceTemplates', 'resourceTemplates')
    },
    call: (name, args, onprogress) =>
        client.callTool({ name, arguments: args }, undefined, onprogress ? { ...options, onprogress } : options),
    read: uri => client.readResource({ uri }, options),
    prompt: (name, args) => client.getPrompt({ name, arguments: args }, options),
    complete: params => client.complete(params, options),
    onNotice(handler) {
        const updated = ({ params }) => handler('updated', params.uri);
        client.setNotificationHandler(ToolListChangedNotificationSchema, () => handler('tools'));
        client.setNotificationHandler(PromptListChangedNotificationSchema, () => handler('prompts'));
        client.setNotificationHandler(ResourceListChangedNotificationSchema, () => handler('resources'));
        client.setNotificationHandler(ResourceUpdatedNotificationSchema, updated);
    },
    async watch(kinds, uri) {
        // Changes of lists come unasked.
        if (!uri) return undefined;
        await client.subscribeResource({ uri }, options);
        return () => client.unsubscribeResource({ uri }, options);
    },
    async close() {
        await transport.terminateSession?.();
        await client.close();
    }
});
