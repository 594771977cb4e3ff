// Types of tickets as an app and its page use them. tsc checks this file, nothing runs it.
import { connect } from 'tidings';
import { DeniedError, ticketRoute } from 'tidings/next';
import { ticketAuth } from 'tidings/ticket';

declare function getSession(request: Request): Promise<{ user: { id: string }; expires: string } | null>;
declare const environment: { SECRET?: string };

const POST: (request: Request) => Promise<Response> = ticketRoute({
  url: 'http://127.0.0.1:8080/api',
  secret: environment.SECRET,
  async authorize(request, workspace) {
    const session = await getSession(request);
    if (!session) return null;
    if (workspace !== 'acme') throw new DeniedError('you are no member of this workspace');
    return { user: session.user.id, expiresAt: session.expires };
  },
});
POST satisfies object;

// @ts-expect-error the secret is required, though it may be undefined
ticketRoute({ url: '/api', authorize: () => null });

connect({ url: '/api', workspace: 'acme', auth: ticketAuth('/api/live-ticket', 'acme') });
