// What both TypeScript clients do once their SDK is set up: connect, list, take the steps of the
// plan, and print one JSON line with what came. Judging the answers is the runner's work, so that
// every client is measured by the same rules.
//
// Usage of a client: node CLIENT.mjs PLAN MODE http|sse|ws URL
//                    node CLIENT.mjs PLAN MODE stdio COMMAND [ARG...]
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const AGAIN_MS = 250; // until lists that are not complete yet are asked for again
const LOOK_MS = 20; // between two looks at whether notices came

export function target() {
    const [planFile, mode, transport, ...rest] = process.argv.slice(2);
    if (!planFile || !mode || !['http', 'sse', 'ws', 'stdio'].includes(transport) || rest.length === 0) {
        console.error('usage: CLIENT.mjs PLAN MODE (http|sse|ws URL | stdio COMMAND [ARG...])');
        process.exit(2);
    }
    const plan = JSON.parse(readFileSync(planFile, 'utf8'));
    return { plan, mode, transport, url: rest[0], command: rest[0], args: rest.slice(1) };
}

// What the user and the model answer.
export const able = { elicitation: { form: {} }, sampling: {} };
export const elicited = plan => ({ action: 'accept', content: { name: plan.user } });
export const sampled = ({ params }) => ({
    role: 'assistant', model: 'interop', stopReason: 'endTurn',
    content: { type: 'text', text: `I was asked: ${[params.messages[0].content].flat()[0].text}` }
});

// How an item of each list is called.
const key = { tools: 'name', prompts: 'name', resources: 'uri', templates: 'uriTemplate' };

// Both SDKs handle a notice a moment later than an answer: if the last note of progress and the
// answer come in one piece, they say of the note that nobody waits for it. So notes are taken from
// the transport, where the order is seen: what comes after the answer is not among them.
const LATE_NOTE = 'Received a progress notification for an unknown token';

function noteProgress(transport) {
    let notes = null;
    const before = transport.onmessage;
    transport.onmessage = (message, extra) => {
        before?.(message, extra);
        if (message.method === 'notifications/progress') notes?.push([message.params.progress, message.params.total]);
        else if (!message.method) notes = null;
    };
    return () => (notes = []);
}

// `client` is the SDK's client; `api` adapts it: connect() returns the negotiated revision,
// list[KIND]() the items of every page, call(), read(), prompt() and complete() a result,
// onNotice(handler) has handler(KIND, uri) told of changes, watch(kinds, uri) asks for them where
// asking is needed and gives what stops it, close() ends the client.
export async function drive(name, { plan, mode, transport }, client, wire, api) {
    const report = {
        client: name, mode, transport, era_negotiated: null, lists: {}, steps: [], stray_errors: [], ok: false,
        error: null
    };
    let step = 'connecting';
    let doing = null;
    const notesFromNow = noteProgress(wire);
    // What no request waits for: text on standard output that is no message, a refused listening
    // stream. What comes while closing is only the end of the streams we cut ourselves.
    client.onerror = error => {
        if (doing === 'progress' && error.message.startsWith(LATE_NOTE)) return;
        if (step !== 'closing') report.stray_errors.push(`${step}: ${error.message}`);
    };
    let told = {};
    api.onNotice((kind, uri) => {
        const what = kind === 'updated' ? `updated ${uri}` : kind;
        told[what] = (told[what] ?? 0) + 1;
    });
    const list = async kind => (await api.list[kind]()).map(item => item[key[kind]]);
    const lists = async kinds => {
        const found = {};
        for (const kind of kinds) found[kind] = await list(kind);
        return found;
    };
    const take = {
        call: async ({ tool, args }) => ({ result: await api.call(tool, args) }),
        read: async ({ uri }) => ({ result: await api.read(uri) }),
        prompt: async ({ prompt, args }) => ({ result: await api.prompt(prompt, args) }),
        complete: async ({ params }) => ({ result: await api.complete(params) }),
        // Calls a tool and reads what its answer links to.
        follow: async ({ tool, args }) => {
            const result = await api.call(tool, args);
            const reads = [];
            for (const { type, uri } of result.content) if (type === 'resource_link') reads.push(await api.read(uri));
            return { result, reads };
        },
        progress: async ({ tool, args }) => {
            const notes = notesFromNow();
            // The SDK asks for progress if somebody wants it.
            return { result: await api.call(tool, args, () => {}), notes };
        },
        // Calls a tool that changes something, and counts what is told until all is quiet.
        watch: async ({ tool, args, kinds, uri, told: expected }) => {
            const stop = await api.watch(kinds, uri);
            try {
                told = {};
                const result = await api.call(tool, args);
                const deadline = Date.now() + plan.told_seconds * 1000;
                while (!Object.keys(expected).every(what => told[what]) && Date.now() < deadline) await sleep(LOOK_MS);
                const seen = await lists(kinds);
                await sleep(plan.quiet_seconds * 1000);
                return { result, told, lists: seen };
            } finally {
                await stop?.();
            }
        }
    };
    try {
        report.era_negotiated = await api.connect();

        // A gateway answers before slow upstreams are up, so ask again until all are there.
        step = 'listing';
        const began = Date.now();
        for (;;) {
            report.lists = await lists(Object.keys(plan.listed));
            const missing = Object.entries(plan.listed).some(([kind, names]) =>
                names.some(each => !report.lists[kind].includes(each)));
            if (!missing || Date.now() > began + plan.wait_seconds * 1000) break;
            await sleep(AGAIN_MS);
        }

        // An error must not cost the connection, so each is noted, and the next step is taken.
        for (const each of plan.steps) {
            step = each.title;
            doing = each.do;
            if (Date.now() > began + plan.steps_seconds * 1000) throw new Error('no time is left for this step');
            try {
                report.steps.push(await take[each.do](each));
            } catch (error) {
                report.steps.push({ error: { code: error.code ?? null, message: `${error.name}: ${error.message}` } });
            }
        }

        step = 'closing';
        await api.close();
        report.ok = true;
    } catch (error) {
        report.error = `${step}: ${error.name}: ${error.message}${error.cause ? ` (${error.cause})` : ''}`;
    }
    // Exit by hand, after the line is out: a stuck transport must not hold the process.
    process.stdout.write(JSON.stringify(report) + '\n', () => process.exit(report.ok ? 0 : 1));
}
