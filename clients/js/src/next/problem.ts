/** Returns a response with a reason, in the form of the broker's problems (docs/errors.md). */
export function problem(
  status: number,
  reason: string,
  detail: string,
  more: { check?: string; retryAfter?: string } = {},
): Response {
  const { check, retryAfter } = more;
  const body = { type: `urn:tidings:problem:${reason}`, status, detail, ...(check && { check }) };
  return new Response(JSON.stringify(body), {
    status,
    headers: {
      'Content-Type': 'application/problem+json',
      'Cache-Control': 'no-store',
      ...(retryAfter && { 'Retry-After': retryAfter }),
    },
  });
}
