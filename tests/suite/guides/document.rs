//! A document as a list of code blocks, which knows the ones that ran.

use std::cell::RefCell;
use std::collections::BTreeSet;

use crate::support::directory::repository_file;

/// Languages of blocks that no test runs: output, pictures, and settings that some tests load.
const SHOWN: [&str; 3] = ["text", "mermaid", "toml"];

/// One code block of a document.
#[derive(Debug)]
struct Block {
    /// The nearest heading above it, without its signs.
    heading: String,
    language: String,
    text: String,
}

/// A document of the repository.
#[derive(Debug)]
pub(crate) struct Document {
    path: &'static str,
    blocks: Vec<Block>,
    taken: RefCell<BTreeSet<usize>>,
}

impl Document {
    /// Reads a document, such as `docs/quickstart.md`.
    pub(crate) fn read(path: &'static str) -> Self {
        let text = repository_file(path);
        let (mut blocks, mut heading) = (Vec::new(), String::new());
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let indent = line.len() - line.trim_start().len();
            if let Some(language) = line.trim_start().strip_prefix("```") {
                let code = lines.by_ref().take_while(|line| line.trim() != "```");
                let code: String =
                    code.map(|line| format!("{}\n", line.get(indent..).unwrap_or_default())).collect();
                blocks.push(Block { heading: heading.clone(), language: language.to_owned(), text: code });
            } else if let Some(title) = line.strip_prefix('#') {
                title.trim_start_matches('#').trim().clone_into(&mut heading);
            }
        }
        assert!(!blocks.is_empty(), "{path} has no code blocks");
        Self { path, blocks, taken: RefCell::default() }
    }

    /// The blocks in this language below a heading, which count as run.
    pub(crate) fn blocks(&self, heading: &str, language: &str) -> Vec<&str> {
        let found = self.blocks.iter().enumerate();
        let found: Vec<_> = found.filter(|(_, b)| b.heading == heading && b.language == language).collect();
        assert!(!found.is_empty(), "{}: no {language} below {heading:?}", self.path);
        self.taken.borrow_mut().extend(found.iter().map(|(index, _)| *index));
        found.into_iter().map(|(_, block)| block.text.as_str()).collect()
    }

    /// The only block in this language below a heading.
    pub(crate) fn block(&self, heading: &str, language: &str) -> &str {
        let blocks = self.blocks(heading, language);
        assert_eq!(blocks.len(), 1, "{}: {language} below {heading:?}", self.path);
        blocks[0]
    }

    /// The block whose first line names this file behind a comment sign.
    pub(crate) fn file(&self, name: &str) -> &str {
        let names = |block: &Block| {
            let line = block.text.lines().next().unwrap_or_default();
            line.trim_start_matches("<?php").trim_start_matches(['/', '#', ' ']) == name
        };
        let (index, block) =
            self.blocks.iter().enumerate().find(|(_, block)| names(block)).expect("a block of this name");
        self.taken.borrow_mut().insert(index);
        &block.text
    }

    /// Fails the test when a block of the document was not run, these languages apart.
    pub(crate) fn every_block_ran(&self, exempt: &[&str]) {
        let taken = self.taken.borrow();
        let left = self.blocks.iter().enumerate().filter(|(index, block)| {
            let language = block.language.as_str();
            !taken.contains(index) && !SHOWN.contains(&language) && !exempt.contains(&language)
        });
        let left: Vec<_> = left.map(|(_, block)| format!("{}: {}", block.heading, block.text)).collect();
        assert!(left.is_empty(), "{} has blocks that no test runs: {left:#?}", self.path);
    }
}
