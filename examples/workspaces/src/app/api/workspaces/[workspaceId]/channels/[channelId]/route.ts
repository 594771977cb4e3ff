import { and, eq } from 'drizzle-orm';

import { database } from '@/db';
import { channels, workspaces } from '@/db/schema';
import { requireMember } from '@/lib/auth';
import { invalidName, readName } from '@/lib/channels';
import { notifyWorkspaceClients } from '@/lib/notify';

type Context = { params: Promise<{ workspaceId: string; channelId: string }> };

const notFound = () => Response.json({ error: 'This channel does not exist.' }, { status: 404 });

export async function PATCH(request: Request, { params }: Context): Promise<Response> {
  const { workspaceId, channelId } = await params;
  const { refusal } = await requireMember(workspaceId);
  if (refusal) return refusal;
  const name = await readName(request);
  if (!name) return invalidName();
  const isUpdated = database().transaction((tx) => {
    const { changes } = tx
      .update(channels)
      .set({ name })
      .where(and(eq(channels.id, channelId), eq(channels.workspaceId, workspaceId)))
      .run();
    if (!changes) return false;
    // #region live updates
    notifyWorkspaceClients(tx, workspaceId, { type: 'CHANNEL_UPDATED', channelId, name });
    // #endregion
    return true;
  });
  return isUpdated ? Response.json({ id: channelId, name }) : notFound();
}

export async function DELETE(_request: Request, { params }: Context): Promise<Response> {
  const { workspaceId, channelId } = await params;
  const { refusal } = await requireMember(workspaceId);
  if (refusal) return refusal;
  const isDeleted = database().transaction((tx) => {
    const workspace = tx.select().from(workspaces).where(eq(workspaces.id, workspaceId)).get();
    if (channelId === workspace?.generalId) return false;
    const { changes } = tx
      .delete(channels)
      .where(and(eq(channels.id, channelId), eq(channels.workspaceId, workspaceId)))
      .run();
    if (!changes) return false;
    // #region live updates
    notifyWorkspaceClients(tx, workspaceId, { type: 'CHANNEL_DELETED', channelId });
    // #endregion
    return true;
  });
  return isDeleted ? new Response(null, { status: 204 }) : notFound();
}
