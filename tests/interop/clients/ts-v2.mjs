// TypeScript client v2. MODE is `legacy` (initialize) or `auto` (server/discover first).
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { drive, target } from './drive.mjs';

const to = target();
const options = { timeout: to.plan.timeout_seconds * 1000 };
const client = new Client({ name: 'interop-ts-v2', version: '1.0.0' }, { versionNegotiation: { mode: to.mode } });
const transport =
    to.transport === 'http'
        ? new StreamableHTTPClientTransport(new URL(to.url))
        : new StdioClientTransport({ command: to.command, args: to.args });

await drive('ts-v2', to, client, {
    async connect() {
        await client.connect(transport, options);
        return client.getNegotiatedProtocolVersion();
    },
    // Without a cursor the SDK walks every page; `refresh` keeps its cache out of the way.
    listTools: async () => (await client.listTools(undefined, { ...options, cacheMode: 'refresh' })).tools,
    callTool: (name, args) => client.callTool({ name, arguments: args }, options),
    async close() {
        // Only a legacy connection has a session to end.
        if (client.getProtocolEra() === 'legacy') await transport.terminateSession?.();
        await client.close();
    }
});
