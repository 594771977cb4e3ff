// The tests of the hooks again, with the oldest React that the package allows.
import { fileURLToPath } from 'node:url';

process.env.REACT_FOLDER = fileURLToPath(new URL('react-18/node_modules', import.meta.url));
await import('./react.test.mjs');
