import type { NextConfig } from 'next';

const config: NextConfig = {
  // Other package-lock.json files are above this folder.
  turbopack: { root: import.meta.dirname },
  serverExternalPackages: ['better-sqlite3'],
  poweredByHeader: false,
  devIndicators: false,
};

export default config;
