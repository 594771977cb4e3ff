import type { Publication } from './publication.js';
import { PublishError, temporaryError } from './publish-error.js';
import type { Transport } from './transport.js';

/** A token, or a function that returns one. */
export type Token = string | (() => string | Promise<string>);

/** Publishes by `POST`. */
export function httpTransport(url: string, token: Token | undefined): Transport {
  const base = url.replace(/\/$/, '');
  // An invalid address is an error of the first line of a program, not of each publication.
  new URL(base);
  const getToken = async () => (typeof token === 'function' ? token() : token);

  async function send(publication: Publication, signal: AbortSignal): Promise<string[]> {
    const { query, body } = encode(publication);
    const headers: Record<string, string> = { 'Content-Type': 'application/json' };
    const { idempotencyKey, traceparent } = publication;
    if (traceparent) headers['traceparent'] = traceparent;
    // The node removes one pair of quotes, and a key may have quotes itself.
    if (idempotencyKey !== undefined) headers['Idempotency-Key'] = `"${idempotencyKey}"`;
    const bearer = await getToken();
    if (bearer !== undefined) headers['Authorization'] = `Bearer ${bearer}`;
    const address = `${base}/workspaces/${publication.workspace}/events${query}`;
    let response: Response;
    let text: string;
    try {
      // A redirect would become a GET.
      response = await fetch(address, { method: 'POST', headers, body, signal, redirect: 'manual' });
      text = await response.text();
    } catch (error) {
      throw temporaryError(`the broker is not reachable at ${base}: ${reasonOf(error)}`, error);
    }
    return readIds(response, text);
  }

  return { send };
}

/** The query and the body of a publication. */
function encode({ payloads, isBatch, to }: Publication): { query: string; body: string } {
  const lines = to ? payloads.map((data) => JSON.stringify({ data, to })) : payloads;
  const parameters = [isBatch && 'batch=1', to && 'envelope=1'].filter(Boolean);
  return { query: parameters.length ? `?${parameters.join('&')}` : '', body: lines.join('\n') };
}

function readIds(response: Response, text: string): string[] {
  const { status } = response;
  const json = parse(text);
  if (status === 200) {
    const ids = json['ids'] ?? [json['id']];
    if (Array.isArray(ids) && ids.every((id) => typeof id === 'string')) return ids;
  }
  const { type, detail } = json;
  const [, problem] = /^urn:tidings:problem:(.+)/.exec(String(type)) ?? [];
  if (problem) throw failure(response, problem, String(detail));
  const hint = status < 500 ? ': is `url` the address of the broker with its base path?' : '';
  throw failure(response, 'unexpected-response', `status ${status} without a problem of the broker${hint}`);
}

function failure({ status, headers }: Response, reason: string, message: string): PublishError {
  const isTemporary = status === 408 || status === 429 || (status >= 500 && !reason.endsWith('-bus'));
  // A date is NaN, which asks for nothing.
  const retryAfterMs = Number(headers.get('retry-after')) * 1000 || undefined;
  return new PublishError(message, { reason, isTemporary, status, ...(retryAfterMs && { retryAfterMs }) });
}

function parse(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}

/** `fetch` hides the reason in the cause of its error. */
function reasonOf(error: unknown): string {
  const { message, cause } = error as Error;
  return cause instanceof Error ? cause.message || (cause as { code?: string }).code || message : message;
}
