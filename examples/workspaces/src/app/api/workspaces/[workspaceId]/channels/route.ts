import { database } from '@/db';
import { channels } from '@/db/schema';
import { requireMember } from '@/lib/auth';
import { invalidName, listChannels, readName } from '@/lib/channels';
import { notifyWorkspaceClients } from '@/lib/notify';

type Context = { params: Promise<{ workspaceId: string }> };

export async function GET(_request: Request, { params }: Context): Promise<Response> {
  const { workspaceId } = await params;
  const { refusal } = await requireMember(workspaceId);
  return refusal ?? Response.json(listChannels(workspaceId));
}

export async function POST(request: Request, { params }: Context): Promise<Response> {
  const { workspaceId } = await params;
  const { refusal } = await requireMember(workspaceId);
  if (refusal) return refusal;
  const name = await readName(request);
  if (!name) return invalidName();
  const channel = database().transaction((tx) => {
    const added = tx.insert(channels).values({ workspaceId, name }).returning().get();
    // #region live updates
    notifyWorkspaceClients(tx, workspaceId, { type: 'CHANNEL_CREATED', channelId: added.id, name });
    // #endregion
    return added;
  });
  return Response.json({ id: channel.id, name }, { status: 201 });
}
