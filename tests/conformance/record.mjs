// A proxy that writes down what passes. It stands before one server, and adds nothing.
//
// Usage: record.mjs TARGET_PORT RESULTS FILE
//
// RESULTS is the folder into which the suite writes: it makes a folder for a scenario before the
// scenario's first request, so the newest one names the scenario that a request belongs to. FILE
// gets one JSON line for each request once its answer has ended. The first line on standard output
// is the port.

import { appendFileSync, readdirSync } from 'node:fs';
import http from 'node:http';

const [target, results, file] = process.argv.slice(2);
const BODY_MAX = 8 * 1024 * 1024; // of what is written down; more would be a runaway
const seen = new Set();
let scenario = '';
let count = 0;
const open = new Set(); // what writes the requests that have not ended

function current() {
  for (const folder of readdirSync(results)) {
    if (!seen.has(folder)) {
      seen.add(folder);
      scenario = folder.replace(/^server-/, '').replace(/-\d{4}-\d\d-\d\dT[\d-]+Z$/, '');
    }
  }
  return scenario;
}

const text = (chunks) => Buffer.concat(chunks).toString('utf8');

function keep(chunks, chunk) {
  const size = chunks.reduce((sum, each) => sum + each.length, chunk.length);
  if (size <= BODY_MAX) chunks.push(chunk);
}

const server = http.createServer((request, response) => {
  const record = {
    scenario: current(),
    number: count++,
    method: request.method,
    path: request.url,
    headers: { ...request.headers },
    status: 0,
    answerHeaders: {},
    // Whether the server ended its answer, or the client had enough of it.
    ended: false
  };
  const [asked, answered] = [[], []];
  let written = false;
  const write = () => {
    if (written) return;
    written = true;
    open.delete(write);
    record.body = text(asked);
    record.answer = text(answered);
    appendFileSync(file, JSON.stringify(record) + '\n');
  };

  open.add(write);

  // Both sides shall see one server: whoever names our port means the target's. Header lines stay
  // as they came, with their case and their duplicates.
  const own = `:${server.address().port}`;
  const headers = request.rawHeaders.map((value, at) => {
    const name = at % 2 ? request.rawHeaders[at - 1].toLowerCase() : '';
    return name === 'host' || name === 'origin' ? value.replace(own, `:${target}`) : value;
  });
  record.headers.host = request.headers.host?.replace(own, ':PORT');
  if (request.headers.origin) record.headers.origin = request.headers.origin.replace(own, ':PORT');

  const onward = http.request(
    { host: '127.0.0.1', port: target, method: request.method, path: request.url, headers, agent: false, setHost: false },
    (answer) => {
      record.status = answer.statusCode;
      record.answerHeaders = { ...answer.headers };
      response.writeHead(answer.statusCode, answer.statusMessage, answer.rawHeaders);
      response.flushHeaders();
      answer.on('data', (chunk) => {
        keep(answered, chunk);
        response.write(chunk);
      });
      answer.on('end', () => {
        record.ended = true;
        response.end();
        write();
      });
      answer.on('error', () => response.destroy());
    }
  );
  onward.on('error', () => {
    response.destroy();
    write();
  });
  request.on('data', (chunk) => {
    keep(asked, chunk);
    onward.write(chunk);
  });
  request.on('end', () => onward.end());
  response.on('close', () => {
    onward.destroy();
    write();
  });
});

// A connection must not end because the suite pauses.
server.keepAliveTimeout = 60_000;
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.on('SIGTERM', () => {
  for (const write of open) write();
  process.exit(0);
});
