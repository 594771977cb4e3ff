import { and, eq } from 'drizzle-orm';
import { getServerSession, type DefaultSession, type NextAuthOptions } from 'next-auth';
import Credentials from 'next-auth/providers/credentials';

import { database } from '@/db';
import { members, sessions, users } from '@/db/schema';

import { bus } from './bus';
import { isPassword } from './passwords';

declare module 'next-auth' {
  interface Session {
    user: { id: string } & DefaultSession['user'];
    id: string;
  }
}
declare module 'next-auth/jwt' {
  interface JWT {
    sub: string;
    sessionId: string;
  }
}

/** The cookie names a user and a session. It counts for as long as the session has a row. */
export const authOptions: NextAuthOptions = {
  session: { strategy: 'jwt' },
  pages: { signIn: '/login' },
  providers: [
    Credentials({
      credentials: { name: {}, password: {} },
      authorize(credentials) {
        const { name = '', password = '' } = credentials ?? {};
        const user = database().select().from(users).where(eq(users.name, name)).get();
        return user && isPassword(password, user.passwordHash) ? { id: user.id, name: user.name } : null;
      },
    }),
  ],
  callbacks: {
    jwt({ token, user }) {
      if (user) {
        const session = database().insert(sessions).values({ userId: user.id }).returning().get();
        token.sessionId = session.id;
      }
      return token;
    },
    session({ session, token }) {
      session.user.id = token.sub;
      session.id = token.sessionId;
      return session;
    },
  },
  events: {
    async signOut({ token }) {
      database().delete(sessions).where(eq(sessions.id, token.sessionId)).run();
      // #region live updates
      bus.publish('tidings:control', JSON.stringify({ disconnect: { user: token.sub } })).catch(console.warn);
      // #endregion
    },
  },
};

/** The user of the request's session. */
export async function currentUser(): Promise<{ id: string; name: string } | undefined> {
  const session = await getServerSession(authOptions);
  if (!session?.id) return undefined;
  return database()
    .select({ id: users.id, name: users.name })
    .from(sessions)
    .innerJoin(users, eq(users.id, sessions.userId))
    .where(eq(sessions.id, session.id))
    .get();
}

/** Whether the request may use a workspace: its user, or the response that refuses it. */
export async function requireMember(workspaceId: string) {
  const user = await currentUser();
  if (!user) return { refusal: Response.json({ error: 'Please sign in.' }, { status: 401 }) };
  const isMember = database()
    .select()
    .from(members)
    .where(and(eq(members.workspaceId, workspaceId), eq(members.userId, user.id)))
    .get();
  if (!isMember) {
    return { refusal: Response.json({ error: 'You are not a member of this workspace.' }, { status: 403 }) };
  }
  return { user };
}
