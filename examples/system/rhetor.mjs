// rhetor: words. A deterministic text service in Node.js, without any package.
//
// POST /api/summarize  {"text": ...} or {"prefix": ...}, "sentences": 2     the sentences that say most
// POST /api/generate   {"prefix": ..., "words": 20, "seed": 1}              a Markov chain over memories
// GET  /api/health, /api/ready
//
// With a prefix, the text is every memory of engram whose key begins so.

import { createServer } from "node:http";

const port = Number(process.env.PORT ?? 8003);
const usualPorts = { hermes: 8001, engram: 8000 };
const maxBody = 1 << 20;

class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

// What it can do ----------------------------------------------------------------------------------------------------

const fillers = new Set(
  "a an and are as at be by for from has have in is it its of on or that the to was were with".split(" "),
);
const wordsOf = (text) => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
const sentencesOf = (text) => text.match(/[^.!?\n]+[.!?]*/g)?.map((s) => s.trim()).filter(Boolean) ?? [];

// Extractive: a sentence weighs as much as its words are frequent in the whole text; the heaviest stay, in order.
function summarize(text, count) {
  const frequency = new Map();
  for (const word of wordsOf(text)) if (!fillers.has(word)) frequency.set(word, (frequency.get(word) ?? 0) + 1);
  const weigh = (sentence) => {
    const words = wordsOf(sentence);
    return words.reduce((sum, word) => sum + (frequency.get(word) ?? 0), 0) / Math.max(words.length, 1);
  };
  return sentencesOf(text)
    .map((sentence, position) => ({ sentence, position, weight: weigh(sentence) }))
    .sort((a, b) => b.weight - a.weight || a.position - b.position)
    .slice(0, count)
    .sort((a, b) => a.position - b.position)
    .map((chosen) => chosen.sentence)
    .join(" ");
}

// Which words follow which; then a walk whose turns the seed decides: the same seed says the same.
function generate(text, count, seed) {
  const words = text.split(/\s+/).filter(Boolean);
  if (words.length === 0) return "";
  const followers = new Map(words.map((word) => [word, []]));
  words.slice(1).forEach((word, position) => followers.get(words[position]).push(word));
  const random = mulberry32(seed);
  const pick = (list) => list[Math.floor(random() * list.length)];
  const said = [pick(words)];
  while (said.length < count) {
    const next = followers.get(said.at(-1));
    said.push(pick(next.length > 0 ? next : words));
  }
  return said.join(" ");
}

function mulberry32(state) {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

// Other components --------------------------------------------------------------------------------------------------

const lastKnown = {};

// Its own variable, else what Tekton says, else the usual port.
async function locate(component) {
  const own = process.env[`${component.toUpperCase()}_URL`];
  if (own) return own.replace(/\/(api\/?)?$/, "");
  const tekton = process.env.TEKTON_URL;
  if (tekton) {
    try {
      lastKnown[component] = (await call(`${tekton}/api/components/${component}`)).endpoint ?? lastKnown[component];
    } catch {
      // Tekton is away or does not know: the last known address is better than none.
    }
  }
  return lastKnown[component] ?? `http://127.0.0.1:${usualPorts[component]}`;
}

async function call(url, method = "GET", body = undefined) {
  const headers = body === undefined ? {} : { "content-type": "application/json" };
  const response = await fetch(url, { method, headers, body: JSON.stringify(body), signal: AbortSignal.timeout(5000) });
  if (!response.ok) throw new Refused(502, `${url} answered ${response.status}`);
  return response.json();
}

async function textOf(wish) {
  if (typeof wish.text === "string") return wish.text;
  if (typeof wish.prefix !== "string") throw new Refused(422, 'expected "text" or "prefix"');
  const { memories } = await call(`${await locate("engram")}/api/memory?prefix=${encodeURIComponent(wish.prefix)}`);
  return Object.values(memories).filter((value) => typeof value === "string").join("\n");
}

// The server --------------------------------------------------------------------------------------------------------

const routes = {
  "GET /api/health": () => ({ status: "ok", service: "rhetor" }),
  "GET /api/ready": () => ({ ready: true }),
  "POST /api/summarize": async (wish) => ({ text: summarize(await textOf(wish), whole(wish.sentences ?? 2)) }),
  "POST /api/generate": async (wish) => ({
    text: generate(await textOf(wish), whole(wish.words ?? 20), whole(wish.seed ?? 1)),
  }),
};

function whole(value) {
  const fits = Number.isInteger(value) && value >= 0 && value <= 10000;
  if (!fits) throw new Refused(422, `${value} is not a whole number up to 10000`);
  return value;
}

async function read(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > maxBody) throw new Refused(413, `at most ${maxBody} bytes`);
    chunks.push(chunk);
  }
  try {
    return Object(size > 0 ? JSON.parse(Buffer.concat(chunks)) : {});
  } catch (error) {
    throw new Refused(400, `not JSON: ${error.message}`);
  }
}

const server = createServer(async (request, response) => {
  const route = `${request.method} ${request.url.split("?")[0]}`;
  let status = 200;
  let answer;
  try {
    const handler = routes[route];
    if (!handler) throw new Refused(404, `nothing at ${route}`);
    answer = await handler(await read(request));
  } catch (error) {
    // What is not refused on purpose is a failure to reach somebody.
    status = error.status ?? 502;
    answer = { status, detail: error.message };
  }
  if (!route.endsWith("/health") && !route.endsWith("/ready")) log(`${route} ${status}`);
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(answer));
});

const log = (text) => console.log(`${new Date().toTimeString().slice(0, 8)} rhetor: ${text}`);

server.on("error", (error) => {
  log(error.message);
  process.exit(1);
});
server.listen(port, "127.0.0.1", async () => {
  log(`listening on http://127.0.0.1:${port}`);
  try {
    await call(`${await locate("hermes")}/api/registry/services/rhetor`, "PUT", { url: `http://127.0.0.1:${port}` });
  } catch {
    log("hermes does not answer; not in its directory");
  }
});
for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => process.exit(0));
