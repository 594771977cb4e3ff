/** The page's side of `tidings/next`: credentials for `connect` from a route of the app. */
import type { Auth } from '../credentials.js';
import { readRefusal } from '../denied.js';

/**
 * Returns an `auth` for `connect`, which gets a ticket for a workspace from a route of the app. A
 * refusal of the route ends the connection, and its reason can be shown. Any other failure is
 * temporary.
 */
export function ticketAuth(route: string, workspace: string): Auth {
  return async () => {
    const response = await fetch(route, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ workspace }),
      // A redirect leads to a page, such as that of a login.
      redirect: 'error',
    });
    if (!response.ok) {
      const { denied } = await readRefusal(response);
      throw denied ?? new Error(`${route} returned status ${response.status}`);
    }
    const { ticket, expiresAt, now } = await response.json();
    // The clock of the page may differ from that of the app.
    return { ticket, expiresAt: Date.now() + (expiresAt - now) };
  };
}
