// Stands before a server as a bad network and a gateway would: https with a certificate that only the given trust root vouches for,
// connections break once a write has reached the server, requests are refused for a moment, streams are cut in the middle.
//
// Arguments: address of the server, key and certificate. Says where it listens; when its input ends, what it did.

import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";

const [server, key, cert] = process.argv.slice(2);
const did = { lost: 0, waited: 0, refused: 0, replayed: 0, cut: 0, resumed: 0, keyless: 0 };
const tries = new Map();
let reads = 0;
let streams = 0;

function forward(request, body, then) {
  const { method, headers } = request;
  const onwards = http.request(`${server}${request.url}`, { method, headers }, then);
  onwards.on("error", () => request.socket.destroy());
  request.on("close", () => request.complete || onwards.destroy());
  onwards.end(body);
  return onwards;
}

function refuse(response, status) {
  did.refused += 1;
  response.writeHead(status, { "retry-after": "0", "content-type": "text/html" }).end("<h1>not now</h1>");
}

function pass(answer, response) {
  if (answer.headers["idempotency-replayed"]) did.replayed += 1;
  if (answer.statusCode === 409) did.waited += 1;
  response.writeHead(answer.statusCode, answer.headers);
  answer.pipe(response);
}

function write(request, response, body) {
  const token = request.headers["idempotency-key"];
  if (!token) did.keyless += 1;
  const which = `${request.method} ${request.url} ${token}`;
  const count = (tries.get(which) ?? 0) + 1;
  tries.set(which, count);
  if (count === 2) return refuse(response, 503);
  forward(request, body, (answer) => {
    if (count > 1) return pass(answer, response);
    did.lost += 1;
    answer.resume();
  });
  // The server goes on with it, and is asked again before or after it is done.
  if (count === 1) request.socket.destroy();
}

/** Every other stream loses its connection after its first event. */
function stream(request, response) {
  streams += 1;
  const cut = streams % 2 === 1;
  if (request.headers["last-event-id"]) did.resumed += 1;
  const onwards = forward(request, undefined, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    response.flushHeaders();
    let seen = "";
    answer.on("data", (part) => {
      if (!cut) return response.write(part);
      seen += part;
      const end = seen.indexOf("\n\n");
      if (end < 0) return;
      answer.destroy();
      did.cut += 1;
      response.write(seen.slice(0, end + 2), () => setTimeout(() => request.socket.destroy(), 50));
    });
    answer.on("end", () => response.end());
  });
  response.on("close", () => onwards.destroy());
}

const listener = https.createServer({ key: readFileSync(key), cert: readFileSync(cert) }, async (request, response) => {
  const parts = [];
  for await (const part of request) parts.push(part);
  const body = Buffer.concat(parts);
  if (request.url.startsWith("/v1/events")) return stream(request, response);
  if (request.method !== "GET") return write(request, response, body);
  reads += 1;
  if (reads % 3 === 1) return refuse(response, [429, 502, 504][Math.floor(reads / 3) % 3]);
  forward(request, body, (answer) => pass(answer, response));
});
listener.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ url: `https://127.0.0.1:${listener.address().port}` })));

process.stdin.resume().on("end", () => {
  console.log(JSON.stringify(did));
  process.exit(0);
});
