// Types are checked by a step of their own.
export default { typescript: { ignoreBuildErrors: true } };
