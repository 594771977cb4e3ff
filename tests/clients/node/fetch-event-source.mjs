// Reads a stream with @microsoft/fetch-event-source until an event has a certain number, and writes down what it gets:
// node fetch-event-source.mjs URL NUMBER DIRECTORY-OF-THE-LIBRARIES
import { createRequire } from 'node:module';

const [url, last, libraries] = process.argv.slice(2);
// The library takes `fetch` and its timers from there.
globalThis.window = globalThis;
const { fetchEventSource } = createRequire(`${libraries}/`)('@microsoft/fetch-event-source');

const write = (line) => console.log(JSON.stringify(line));
await fetchEventSource(url, {
  openWhenHidden: true,
  onopen: async ({ status }) => write({ opened: status }),
  onmessage: ({ event, data }) => {
    // As most of its users do. Where this throws, the library reconnects.
    const payload = JSON.parse(data);
    write({ event: event || 'message', payload });
    if (payload.number === Number(last)) process.exit(0);
  },
  // The library takes a clean end for the last one, unless this throws.
  onclose: () => { throw new Error('the stream ended'); },
});
