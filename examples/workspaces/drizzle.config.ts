// `npx drizzle-kit generate` writes a migration after a change of the schema.
export default {
  dialect: 'sqlite',
  schema: './src/db/schema.ts',
  out: './drizzle',
  casing: 'snake_case',
};
