// Keeps what the modules of the documents receive. The hash is the name of one, and the URL of a stream.
import { listen as listenAfter } from './after.js';
import { listen as listenBefore } from './before.js';
import { openEvents } from './events.js';
import { fetchEvents } from './fetched-events.js';
import { openNative } from './native.js';
import { openPolyfill } from './polyfill.js';
import { followState } from './state.js';

window.seen = [];
window.received = [];
window.shown = [];
window.loads = 0;
addEventListener('pageshow', (event) => window.shown.push(event.persisted));

// The newest EventSource of the page, whichever module has made it.
window.EventSource = class extends EventSource {
  constructor(...values) {
    super(...values);
    window.source = this;
    this.addEventListener('message', (event) => window.received.push(event.data));
  }
};

const see = (text) => window.seen.push(text);
const keep = (event) => see(event.data);
const reset = () => see('reset');
const show = (event) => see(JSON.stringify(event));

async function load() {
  const state = { load: (window.loads += 1) };
  await window.held;
  return state;
}

const modules = {
  EventSource(url) {
    const source = new EventSource(url);
    for (const name of ['message', 'tidings.reconnect']) source.addEventListener(name, keep);
  },
  events: (url) => openEvents(url, keep, reset),
  fetched: (url) => fetchEvents(url, 'a token', keep, reset),
  polyfill: (url) => openPolyfill(url, 'a token').addEventListener('message', keep),
  native: (url) => openNative(url, 'a token', keep, reset),
  before: (url) => listenBefore(url, show),
  after: (url) => listenAfter(url, show, reset),
  state: (url) => followState(url, load, (state, { type, value }) => ({ ...state, [type]: value }), show),
};
const [module, url] = decodeURIComponent(location.hash.slice(1)).split(' ');
modules[module](url);
