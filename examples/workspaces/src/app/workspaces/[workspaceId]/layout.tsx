import { eq } from 'drizzle-orm';
import { cookies } from 'next/headers';
import Link from 'next/link';
import { notFound, redirect } from 'next/navigation';
import type { ReactNode } from 'react';
import { fetchPosition } from 'tidings/live';

import { Card } from '@/components/Card';
import { Sidebar } from '@/components/Sidebar';
import { WorkspaceProvider } from '@/components/WorkspaceProvider';
import { database } from '@/db';
import { workspaces } from '@/db/schema';
import { currentUser, requireMember } from '@/lib/auth';
import { listChannels } from '@/lib/channels';

type Props = { children: ReactNode; params: Promise<{ workspaceId: string }> };

export default async function WorkspaceLayout({ children, params }: Props) {
  const { workspaceId } = await params;
  const user = await currentUser();
  if (!user) redirect(`/login?callbackUrl=/workspaces/${workspaceId}`);
  const workspace = database().select().from(workspaces).where(eq(workspaces.id, workspaceId)).get();
  if (!workspace) notFound();
  if ((await requireMember(workspaceId)).refusal) {
    return (
      <Card title="No access">
        <p role="alert">
          You are signed in as {user.name}, who is not a member of {workspace.name}.
        </p>
        <Link href="/">Your workspaces</Link>
      </Card>
    );
  }
  // #region live updates
  const url = process.env.TIDINGS_INTERNAL_URL ?? 'http://127.0.0.1:8080/api';
  const headers = { cookie: (await cookies()).toString() };
  const signal = AbortSignal.timeout(1000);
  const position = await fetchPosition({ url, workspace: workspaceId, headers, signal }).catch(() => undefined);
  // The position is older than the state, so no event falls between them.
  const initial = position ? { state: listChannels(workspaceId), position } : undefined;
  const live = { url: process.env.TIDINGS_URL ?? '/api', userId: user.id, initial };
  // #endregion
  return (
    <WorkspaceProvider workspace={workspace} {...live}>
      <div className="workspace">
        <Sidebar user={user} />
        {children}
      </div>
    </WorkspaceProvider>
  );
}
