// Reads a stream with event-source-polyfill until an event has a certain number, and writes down what it gets:
// node event-source-polyfill.mjs URL NUMBER DIRECTORY-OF-THE-LIBRARIES
import { createRequire } from 'node:module';

const [url, last, libraries] = process.argv.slice(2);
const { EventSourcePolyfill } = createRequire(`${libraries}/`)('event-source-polyfill');

const write = (line) => console.log(JSON.stringify(line));
const source = new EventSourcePolyfill(url);
source.onopen = ({ status }) => write({ opened: status });
const keep = ({ type, data }) => {
  const payload = JSON.parse(data);
  write({ event: type, payload });
  if (payload.number === Number(last)) process.exit(0);
};
source.onmessage = keep;
source.addEventListener('tidings.reset', keep);
source.addEventListener('tidings.reconnect', keep);
