// Reads a stream with Node's own fetch, and writes down how it ends:
// node fetch.mjs URL
const [url] = process.argv.slice(2);
const write = (line) => console.log(JSON.stringify(line));

const response = await fetch(url, { headers: { accept: 'text/event-stream' } });
write({ opened: response.status });
try {
  const decoder = new TextDecoder();
  for await (const part of response.body) write({ part: decoder.decode(part, { stream: true }) });
  write({ ended: 'clean' });
} catch (error) {
  write({ ended: 'error', why: String(error.cause?.code ?? error.message) });
}
