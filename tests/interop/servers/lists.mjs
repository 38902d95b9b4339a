// A server on stdio whose lists change while it runs, which of the published servers only
// server-everything's do, and there only the resources. Made with the TypeScript SDK, dual-era.
//
// `change {name}` takes away what the last change brought and offers NAME-1, NAME-2 and NAME-3 as
// a tool, a prompt and a resource (lists://NAME-1 ...) each. The SDK tells of every single step, so
// one change is a burst of at least four notices of each kind. `count {steps}` counts, with progress.
// `ask {about}` asks the user who they are, and then once more, by results of the 2026-07-28 revision.
import { McpServer, acceptedContent, fromJsonSchema, inputRequired } from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import { setTimeout as sleep } from 'node:timers/promises';

const EACH = 3;
const STEP_MS = 20;

const object = properties =>
    fromJsonSchema({ type: 'object', properties, required: Object.keys(properties), additionalProperties: false });
const text = words => ({ content: [{ type: 'text', text: words }] });

function offer(server, name) {
    const uri = `lists://${name}`;
    return [
        server.registerTool(name, { description: `Tool ${name}` }, async () => text(`tool ${name} ran`)),
        server.registerPrompt(name, { description: `Prompt ${name}` }, async () => ({
            messages: [{ role: 'user', content: { type: 'text', text: `prompt ${name} asks` } }]
        })),
        server.registerResource(name, uri, { mimeType: 'text/plain' }, async () => ({
            contents: [{ uri, mimeType: 'text/plain', text: `resource ${name} reads` }]
        }))
    ];
}

serveStdio(() => {
    const changes = { listChanged: true };
    const server = new McpServer(
        { name: 'interop-lists', version: '1.0.0' },
        { capabilities: { tools: changes, prompts: changes, resources: changes } }
    );
    let offered = offer(server, 'first');

    const change = { description: 'Changes all lists', inputSchema: object({ name: { type: 'string' } }) };
    server.registerTool('change', change, async ({ name }) => {
        for (const each of offered) each.remove();
        offered = [];
        for (let number = 1; number <= EACH; number++) offered.push(...offer(server, `${name}-${number}`));
        return text(`now offering ${name}`);
    });

    const count = { description: 'Counts, with progress', inputSchema: object({ steps: { type: 'integer' } }) };
    server.registerTool('count', count, async ({ steps }, context) => {
        const progressToken = context.mcpReq._meta?.progressToken;
        for (let progress = 1; progress <= steps; progress++) {
            await sleep(STEP_MS);
            if (progressToken === undefined) continue;
            const params = { progressToken, progress, total: steps };
            await context.mcpReq.notify({ method: 'notifications/progress', params });
        }
        return text(`counted to ${steps}`);
    });
    const ask = { description: 'Asks twice', inputSchema: object({ about: { type: 'string' } }) };
    server.registerTool('ask', ask, async ({ about }, context) => {
        const answer = key => acceptedContent(context.mcpReq.inputResponses, key)?.name;
        const question = (key, message) => ({
            [key]: inputRequired.elicit({
                message,
                requestedSchema: { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] }
            })
        });
        // Only the answers of this round come: the first one is kept in the state.
        if (answer('again') !== undefined) {
            return text(`${about}: ${context.mcpReq.requestState()} and ${answer('again')}`);
        }
        if (answer('who') !== undefined) {
            return inputRequired({ inputRequests: question('again', 'And?'), requestState: `é ${answer('who')}` });
        }
        return inputRequired({ inputRequests: question('who', 'Who?') });
    });
    return server;
});
