'use client';

import { createContext, useContext, useState, type ReactNode } from 'react';
import { TidingsProvider, useLive, type InitialState } from 'tidings/react';

import type { AppEvent } from '@/events';
import type { Channel } from '@/lib/channels';

interface Props {
  workspaceId: string;
  userId: string;
  /** The address of the broker. */
  url: string;
  initial: InitialState<Channel[]> | undefined;
  children: ReactNode;
}

interface Workspace {
  id: string;
  channels: Channel[] | undefined;
  status: string;
  /** The reason for which the broker refuses the events. */
  denial: string | undefined;
  /** Whether a newer version of this page exists. */
  isOutdated: boolean;
}

const Context = createContext<Workspace | undefined>(undefined);

export function useWorkspace(): Workspace {
  const workspace = useContext(Context);
  if (!workspace) throw new Error('useWorkspace needs a <WorkspaceProvider> above it');
  return workspace;
}

export function WorkspaceProvider(props: Props) {
  const [isOutdated, setOutdated] = useState(false);
  return (
    <TidingsProvider
      url={props.url}
      withCredentials
    >
      <LiveWorkspace {...props} isOutdated={isOutdated} />
    </TidingsProvider>
  );
}

function LiveWorkspace({ workspaceId, initial, children, isOutdated }: Props & { isOutdated: boolean }) {
  const { state, status, error } = useLive<Channel[], AppEvent>({
    workspace: workspaceId,
    initial,
    load: ({ signal }) => loadChannels(workspaceId, signal),
    apply,
  });
  const workspace = { id: workspaceId, channels: state, status, denial: error?.message, isOutdated };
  return <Context value={workspace}>{children}</Context>;
}

async function loadChannels(workspaceId: string, signal: AbortSignal): Promise<Channel[]> {
  const response = await fetch(`/api/workspaces/${workspaceId}/channels`, { signal });
  if (!response.ok) throw new Error(`status ${response.status}`);
  return response.json();
}

function apply(channels: Channel[], event: AppEvent): Channel[] {
  const others = channels.filter((channel) => channel.id !== event.channelId);
  switch (event.type) {
    case 'CHANNEL_CREATED':
      return [...others, { id: event.channelId, name: event.name, isGeneral: false }];
    case 'CHANNEL_UPDATED':
      return channels.map((channel) =>
        channel.id === event.channelId ? { ...channel, name: event.name } : channel,
      );
    case 'CHANNEL_DELETED':
      return others;
    default:
      return channels;
  }
}
