import { readRefusal } from './denied.js';
import { createReader } from './event-reader.js';
import { noteBytes, type Transport } from './stream.js';

/** A request keeps its whole response. The client resumes with a new one after this length. */
const RESPONSE_CHARACTERS_MAX = 4 * 1024 * 1024;

/** Opens a stream over XMLHttpRequest, for platforms whose `fetch` cannot read a stream. */
export const xhrTransport: Transport = (
  stream,
  url,
  headers,
  withCredentials,
  onMessage,
  notes,
) =>
  new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open('GET', url.href);
    request.withCredentials = withCredentials;
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    const read = createReader(stream.signal, onMessage, notes);
    let length = 0;
    // React Native passes parts of a response on only if this function exists.
    request.onreadystatechange = () => {
      const { readyState, status, DONE } = request;
      if (stream.signal.aborted || !status) {
        // A request that failed has no status.
        if (readyState === DONE) resolve({});
        return;
      }
      const type = request.getResponseHeader('content-type') ?? '';
      if (status !== 200 || !type.startsWith('text/event-stream')) {
        if (readyState === DONE) resolve(readRefusal(toResponse(request, type)));
        return;
      }
      noteBytes(stream);
      const text = request.responseText.slice(length);
      length += text.length;
      const isReadable = !text || read(text);
      if (!isReadable || readyState === DONE || length > RESPONSE_CHARACTERS_MAX) {
        resolve({});
        request.abort();
      }
    };
    stream.signal.addEventListener('abort', () => request.abort());
    request.send();
  });

function toResponse(request: XMLHttpRequest, type: string): Response {
  const { status, responseText } = request;
  const retryAfter = request.getResponseHeader('retry-after') ?? '';
  const headers = { 'content-type': type, 'retry-after': retryAfter };
  // The standard allows no body for 204.
  return new Response(responseText || null, { status, headers });
}
