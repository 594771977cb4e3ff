import type { Metadata } from 'next';
import type { ReactNode } from 'react';

import './style.css';

export const metadata: Metadata = { title: 'Workspaces', description: 'An example of Tidings' };

export default function RootLayout({ children }: { children: ReactNode }) {
  return (
    <html lang="en">
      <body>{children}</body>
    </html>
  );
}
