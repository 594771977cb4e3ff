// Runs the app in a page: `#` has its properties, or the page has what the server rendered.
import { createRoot, hydrateRoot } from 'react-dom/client';

import { App, seen } from './react-app.jsx';

window.seen = seen;
window.sources = 0;
window.errors = [];
addEventListener('error', ({ message }) => window.errors.push(message));
addEventListener('unhandledrejection', ({ reason }) => window.errors.push(String(reason)));
window.EventSource = class extends EventSource {
  constructor(...parameters) {
    super(...parameters);
    window.sources += 1;
  }
};

const expose = (change, transition) => Object.assign(window, { change, transition });
const onRecoverableError = (error) => window.errors.push(String(error));
const container = document.getElementById('root');
const rendered = document.getElementById('props');
if (rendered) {
  const props = JSON.parse(rendered.textContent);
  window.root = hydrateRoot(container, <App {...props} expose={expose} />, { onRecoverableError });
} else {
  const props = JSON.parse(decodeURIComponent(location.hash.slice(1)));
  window.root = createRoot(container, { onRecoverableError });
  window.root.render(<App {...props} expose={expose} />);
}
