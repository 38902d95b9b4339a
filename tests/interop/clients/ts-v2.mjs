// TypeScript client v2. MODE is `legacy` (initialize) or `auto` (server/discover first).
import { Client, SSEClientTransport, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { able, drive, elicited, sampled, target } from './drive.mjs';

const to = target();
const options = { timeout: to.plan.timeout_seconds * 1000 };
// Keeps the SDK's cache out of the way.
const fresh = { ...options, cacheMode: 'refresh' };
const client = new Client(
    { name: 'interop-ts-v2', version: '1.0.0' },
    { capabilities: able, versionNegotiation: { mode: to.mode } }
);
client.setRequestHandler('elicitation/create', async () => elicited(to.plan));
client.setRequestHandler('sampling/createMessage', async request => sampled(request));
const transport = {
    http: () => new StreamableHTTPClientTransport(new URL(to.url)),
    sse: () => new SSEClientTransport(new URL(to.url)),
    stdio: () => new StdioClientTransport({ command: to.command, args: to.args })
}[to.transport]();

const isLegacy = () => client.getProtocolEra() === 'legacy';

await drive('ts-v2', to, client, transport, {
    async connect() {
        await client.connect(transport, options);
        return client.getNegotiatedProtocolVersion();
    },
    // Without a cursor the SDK walks every page.
    list: {
        tools: async () => (await client.listTools(undefined, fresh)).tools,
        prompts: async () => (await client.listPrompts(undefined, fresh)).prompts,
        resources: async () => (await client.listResources(undefined, fresh)).resources,
        templates: async () => (await client.listResourceTemplates(undefined, fresh)).resourceTemplates
    },
    call: (name, args, onprogress) =>
        client.callTool({ name, arguments: args }, onprogress ? { ...options, onprogress } : options),
    read: uri => client.readResource({ uri }, fresh),
    prompt: (name, args) => client.getPrompt({ name, arguments: args }, options),
    complete: params => client.complete(params, options),
    onNotice(handler) {
        const updated = ({ params }) => handler('updated', params.uri);
        for (const kind of ['tools', 'prompts', 'resources']) {
            client.setNotificationHandler(`notifications/${kind}/list_changed`, () => handler(kind));
        }
        client.setNotificationHandler('notifications/resources/updated', updated);
    },
    async watch(kinds, uri) {
        if (isLegacy()) {
            // Changes of lists come unasked.
            if (!uri) return undefined;
            await client.subscribeResource({ uri }, options);
            return () => client.unsubscribeResource({ uri }, options);
        }
        const filter = Object.fromEntries(kinds.map(kind => [`${kind}ListChanged`, true]));
        if (uri) filter.resourceSubscriptions = [uri];
        const subscription = await client.listen(filter, options);
        return () => subscription.close();
    },
    async close() {
        // Only a legacy connection has a session to end.
        if (isLegacy()) await transport.terminateSession?.();
        await client.close();
    }
});
