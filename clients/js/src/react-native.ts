/** The transport for React Native: `connect({ transport: xhrTransport, … })`. */
export { xhrTransport } from './xhr-stream.js';
