// TypeScript SDK v1: it speaks the 2025-11-25 revision only, so MODE is always legacy.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { drive, target } from './drive.mjs';

const to = target();
const options = { timeout: to.plan.timeout_seconds * 1000 };
const client = new Client({ name: 'interop-ts-v1', version: '1.0.0' });
const transport =
    to.transport === 'http'
        ? new StreamableHTTPClientTransport(new URL(to.url))
        : new StdioClientTransport({ command: to.command, args: to.args });

// The client object does not tell the negotiated revision; the hook that hands it
// to the transport does.
let revision = null;
transport.setProtocolVersion = (original => version => {
    revision = version;
    original?.call(transport, version);
})(transport.setProtocolVersion);

await drive('ts-v1', to, client, {
    async connect() {
        await client.connect(transport, options);
        return revision;
    },
    async listTools() {
        const tools = [];
        let cursor;
        for (let page = 0; page < 100; page++) {
            const result = await client.listTools(cursor === undefined ? {} : { cursor }, options);
            tools.push(...result.tools);
            cursor = result.nextCursor;
            if (cursor === undefined) return tools;
        }
        throw new Error('tools/list never came to its last page');
    },
    callTool: (name, args) => client.callTool({ name, arguments: args }, undefined, options),
    async close() {
        await transport.terminateSession?.();
        await client.close();
    }
});
