//! The bus that runs in the process.
