// What both TypeScript clients do once their SDK is set up: connect, list, call,
// and print one JSON line with what came. Judging the answers is the runner's work,
// so that every client is measured by the same rules.
//
// Usage of a client: node CLIENT.mjs PLAN MODE http URL
//                    node CLIENT.mjs PLAN MODE stdio COMMAND [ARG...]
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

export function target() {
    const [planFile, mode, transport, ...rest] = process.argv.slice(2);
    if (!planFile || !mode || !['http', 'stdio'].includes(transport) || rest.length === 0) {
        console.error('usage: CLIENT.mjs PLAN MODE (http URL | stdio COMMAND [ARG...])');
        process.exit(2);
    }
    const plan = JSON.parse(readFileSync(planFile, 'utf8'));
    return { plan, mode, transport, url: rest[0], command: rest[0], args: rest.slice(1) };
}

const textOf = result =>
    (result.content ?? []).filter(block => block.type === 'text').map(block => block.text).join('\n');

// `client` is the SDK's client; `api` adapts it: connect() returns the negotiated revision,
// listTools() the tools of every page, callTool(name, args) a result, close() ends it.
export async function drive(name, { plan, mode, transport }, client, api) {
    const report = {
        client: name, mode, transport, era_negotiated: null, tools: [], calls: [], unknown: null,
        stray_errors: [], ok: false, error: null
    };
    let step = 'connecting';
    // What no request waits for: text on standard output that is no message, a refused listening
    // stream. What comes while closing is only the end of the streams we cut ourselves.
    client.onerror = error => {
        if (step !== 'closing') report.stray_errors.push(`${step}: ${error.message}`);
    };
    const call = async ({ tool, args }) => {
        step = `calling ${tool}`;
        const result = await api.callTool(tool, args);
        report.calls.push({ tool, is_error: result.isError === true, text: textOf(result) });
    };
    try {
        report.era_negotiated = await api.connect();

        // A gateway answers before slow upstreams are up, so ask again until all are there.
        step = 'listing tools';
        const deadline = Date.now() + plan.wait_seconds * 1000;
        for (;;) {
            report.tools = (await api.listTools()).map(tool => tool.name);
            if (plan.calls.every(({ tool }) => report.tools.includes(tool)) || Date.now() > deadline) break;
            await sleep(250);
        }

        for (const each of plan.calls) await call(each);

        step = `calling the unknown tool ${plan.unknown}`;
        try {
            const result = await api.callTool(plan.unknown, {});
            report.unknown = { code: null, is_error: result.isError === true, message: textOf(result) };
        } catch (error) {
            report.unknown = { code: error.code ?? null, message: error.message };
        }
        // The error must not have cost the connection.
        await call(plan.calls[0]);

        step = 'closing';
        await api.close();
        report.ok = true;
    } catch (error) {
        report.error = `${step}: ${error.name}: ${error.message}${error.cause ? ` (${error.cause})` : ''}`;
    }
    // Exit by hand, after the line is out: a stuck transport must not hold the process.
    process.stdout.write(JSON.stringify(report) + '\n', () => process.exit(report.ok ? 0 : 1));
}
