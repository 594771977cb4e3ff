import { eq } from 'drizzle-orm';
import { redirect } from 'next/navigation';

import { database } from '@/db';
import { workspaces } from '@/db/schema';

type Props = { params: Promise<{ workspaceId: string }> };

/** Leads to the general channel. The layout shows a user who is not a member its own page. */
export default async function Workspace({ params }: Props) {
  const { workspaceId } = await params;
  const workspace = database().select().from(workspaces).where(eq(workspaces.id, workspaceId)).get();
  redirect(workspace ? `/workspaces/${workspaceId}/${workspace.generalId}` : '/');
}
