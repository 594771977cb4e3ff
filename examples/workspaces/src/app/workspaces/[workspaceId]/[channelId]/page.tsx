import { ChannelView } from '@/components/ChannelView';

type Props = { params: Promise<{ channelId: string }> };

export default async function ChannelPage({ params }: Props) {
  return <ChannelView channelId={(await params).channelId} />;
}
