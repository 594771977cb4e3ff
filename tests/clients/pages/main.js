// Keeps what the modules from the documents tell. The hash is the name of one, and the URL of a stream.
import { openEvents } from './events.js';
import { fetchEvents } from './fetched-events.js';

window.seen = [];
window.shown = [];
addEventListener('pageshow', (event) => window.shown.push(event.persisted));
const keep = (event) => window.seen.push(event.data);
const reset = () => window.seen.push('reset');
const [module, url] = decodeURIComponent(location.hash.slice(1)).split(' ');
if (module === 'EventSource') {
  window.source = new EventSource(url);
  for (const name of ['message', 'tidings.reconnect']) window.source.addEventListener(name, keep);
} else if (module === 'events') {
  openEvents(url, keep, reset);
} else {
  fetchEvents(url, 'a token', keep, reset);
}
