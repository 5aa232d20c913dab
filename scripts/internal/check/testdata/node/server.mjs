// A server in Node that meets the whole contract. It sends spans with OpenTelemetry
// JS where that is installed (npm ci), and none where it is not.
import http from 'node:http';

const TTL = 5000, TIMEOUT = 2500, SPARE = 1000, MAX_FEED = 1 << 20, MAX_LOADS = 100, MAX_KEYS = 1000;
const CHANNEL = /^UC[A-Za-z0-9_-]{22}$/;
const VIDEO = /<entry>[\s\S]*?<id>yt:video:([A-Za-z0-9_-]{11}|doom)<\/id>/;

class Failure extends Error {
  constructor(status, text, again = 0) { super(text); this.status = status; this.again = again; }
}

// Without the SDK, tracing does nothing.
let tracing = { start: () => null, inject: () => ({}), parent: () => null, link: () => {}, fail: () => {}, stop: async () => {} };
try {
  const { context, propagation, trace, SpanStatusCode, ROOT_CONTEXT } = await import('@opentelemetry/api');
  const { BatchSpanProcessor, NodeTracerProvider } = await import('@opentelemetry/sdk-trace-node');
  const { OTLPTraceExporter } = await import('@opentelemetry/exporter-trace-otlp-proto');
  // The exporter reads OTEL_EXPORTER_OTLP_ENDPOINT, and the processor OTEL_BSP_SCHEDULE_DELAY.
  const provider = new NodeTracerProvider({ spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())] });
  provider.register();
  const tracer = trace.getTracer('server');
  const below = (span) => (span ? trace.setSpan(ROOT_CONTEXT, span) : ROOT_CONTEXT);
  tracing = {
    parent: (headers) => propagation.extract(ROOT_CONTEXT, headers),
    start: (name, parent) => tracer.startSpan(name, {}, parent?.getValue ? parent : below(parent)),
    inject: (span) => { const headers = {}; propagation.inject(below(span), headers); return headers; },
    link: (span, to) => span.addLink({ context: to.spanContext() }),
    fail: (span, err) => { span.recordException(err); span.setStatus({ code: SpanStatusCode.ERROR, message: err.message }); },
    stop: () => provider.shutdown(),
  };
} catch (err) {
  if (err.code !== 'ERR_MODULE_NOT_FOUND') throw err;
}

// read asks the feed for a channel's newest video.
async function read(channel, span) {
  const url = new URL(process.env.FEED_URL);
  url.searchParams.set('channel_id', channel);
  let text = '';
  try {
    const response = await fetch(url, { headers: tracing.inject(span), signal: AbortSignal.timeout(TIMEOUT) });
    if (response.status !== 200) throw new Failure(502, `the feed answered ${response.status}`);
    const decoder = new TextDecoder();
    for await (const part of response.body) {
      text += decoder.decode(part, { stream: true });
      if (text.length > MAX_FEED) throw new Failure(502, 'the feed is too long');
    }
  } catch (err) {
    if (err instanceof Failure) throw err;
    if (err.name === 'TimeoutError') throw new Failure(504, 'the feed took too long');
    throw new Failure(502, `the feed failed: ${err.message}`);
  }
  const video = VIDEO.exec(text)?.[1];
  if (!video) throw new Failure(502, 'the feed has no video');
  if (video === 'doom') throw new TypeError('doom: the load cannot take this video');
  return video;
}

const entries = new Map(); // by channel, the one stored last at the end
const flights = new Map(); // the loads in the air, by channel

// load begins the one load of a channel. Its callers come and go; it runs to its end.
function load(channel, parent) {
  if (flights.size >= MAX_LOADS) throw new Failure(503, 'too many loads', 1000);
  const span = tracing.start('load', parent);
  const flight = { span, done: null };
  flights.set(channel, flight);
  flight.done = read(channel, span).then((value) => {
    store(channel, { value, until: Date.now() + TTL, spare: 0 });
    return value;
  }, (err) => {
    if (span) tracing.fail(span, err);
    const failure = new Failure(err.status ?? 500, err.message, SPARE);
    store(channel, { ...entries.get(channel), failure, spare: Date.now() + SPARE });
    throw failure;
  }).finally(() => { flights.delete(channel); span?.end(); });
  flight.done.catch(() => {}); // a refresh has no caller
  return flight;
}

function store(channel, entry) {
  entries.delete(channel);
  entries.set(channel, entry);
  if (entries.size > MAX_KEYS) entries.delete(entries.keys().next().value);
}

// get answers from memory, or shares the load in the air, or begins one.
async function get(channel, span) {
  const entry = entries.get(channel), now = Date.now();
  if (now < entry?.until) return entry.value;
  const flight = flights.get(channel), spared = now < entry?.spare;
  if (entry?.value) { // old, and good enough meanwhile
    if (!flight && !spared && flights.size < MAX_LOADS) load(channel, span);
    return entry.value;
  }
  if (flight) {
    if (span) tracing.link(span, flight.span);
    return flight.done;
  }
  if (spared) throw new Failure(entry.failure.status, entry.failure.message, entry.spare - now);
  return load(channel, span).done;
}

const server = http.createServer(async (request, response) => {
  const span = tracing.start('request', tracing.parent(request.headers));
  response.on('close', () => span?.end()); // also where the caller has hung up
  const answer = (status, body, headers = {}) => {
    response.writeHead(status, { 'Content-Type': 'application/json', ...headers });
    response.end(JSON.stringify(body) + '\n');
  };
  try {
    const url = new URL(request.url, 'http://localhost');
    if (url.pathname !== '/') throw new Failure(404, 'there is nothing here');
    if (request.method !== 'GET') throw new Failure(405, 'only GET is allowed here');
    const channel = url.searchParams.get('channel') ?? 'UCs4fQRyl1TJvoeOdekW6lYA';
    if (!CHANNEL.test(channel)) throw new Failure(400, 'that is not a channel id');
    answer(200, { video_id: await get(channel, span) });
  } catch (err) {
    request.resume(); // its body, which nobody reads
    answer(err.status ?? 500, { error: err.message }, err.again ? { 'Retry-After': Math.ceil(err.again / 1000) } : {});
  }
});

// Node's own bound on an idle client is 60 s, and begins with its first byte.
server.on('connection', (socket) => {
  const timer = setTimeout(() => socket.bytesRead === 0 && socket.destroy(), 4000);
  socket.on('close', () => clearTimeout(timer));
});

const stop = async () => {
  server.close();
  server.closeAllConnections();
  await new Promise(setImmediate); // in which the spans of the requests end
  await tracing.stop().catch(() => {});
  process.exit(0);
};
process.on('SIGTERM', stop);
process.on('SIGINT', stop);

const [, host, port] = /^(.*):(\d+)$/.exec(process.env.ADDR ?? '127.0.0.1:3779');
server.listen({ host, port: Number(port), backlog: 511 });
