import { eq } from 'drizzle-orm';

import { database } from '@/db';
import { channels } from '@/db/schema';

export interface Channel {
  id: string;
  name: string;
}

export function listChannels(workspaceId: string): Channel[] {
  return database()
    .select({ id: channels.id, name: channels.name })
    .from(channels)
    .where(eq(channels.workspaceId, workspaceId))
    .all();
}

/** The name in the body of a request: 1 to 80 characters without spaces around them. */
export async function readName(request: Request): Promise<string | undefined> {
  const body: unknown = await request.json().catch(() => undefined);
  const name = body && typeof body === 'object' && 'name' in body ? body.name : undefined;
  if (typeof name !== 'string') return undefined;
  const trimmed = name.trim();
  return trimmed.length > 0 && trimmed.length <= 80 ? trimmed : undefined;
}

export const invalidName = () =>
  Response.json({ error: 'A name has 1 to 80 characters.' }, { status: 400 });
