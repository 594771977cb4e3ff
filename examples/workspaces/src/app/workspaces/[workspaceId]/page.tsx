import { redirect } from 'next/navigation';

import { listChannels } from '@/lib/channels';

type Props = { params: Promise<{ workspaceId: string }> };

/** The layout has checked the membership, or has rendered its own page instead of this one. */
export default async function Workspace({ params }: Props) {
  const { workspaceId } = await params;
  const general = listChannels(workspaceId).find((channel) => channel.isGeneral);
  redirect(general ? `/workspaces/${workspaceId}/${general.id}` : '/');
}
