/**
 * Whether the request comes from a page of the app itself, or from a program without a browser.
 *
 * A browser states the site of a page in `Sec-Fetch-Site`, over HTTPS and on localhost. Elsewhere
 * it states the origin of each POST. Behind a proxy the URL of a request may have another host than
 * the page. So the headers have the host, as for the server actions of Next.js.
 */
export function isSameOrigin({ headers }: Request): boolean {
  const site = headers.get('sec-fetch-site');
  if (site) return site === 'same-origin';
  const origin = headers.get('origin');
  if (!origin) return true;
  const [forwarded] = headers.get('x-forwarded-host')?.split(',') ?? [];
  const host = forwarded?.trim() || headers.get('host');
  return URL.canParse(origin) && new URL(origin).host === host;
}
