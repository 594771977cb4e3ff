//! The file that `tidings config init` writes, made from `config/default.toml`.

use super::reference::DEFAULT_TOML;

/// The text above the settings of the file.
const SETTINGS_HEAD: &str = "\
# Settings of Tidings. Each key has its default and is commented out: remove the # in front of it to
# set it. A default may change with a version, and a key that is set keeps its value.
#
# `--config FILE` or the variable TIDINGS_CONFIG names this file. Environment variables such as
# TIDINGS__SERVER__LISTEN, and flags, win over it. `tidings config` shows the settings in force, and
# `tidings check` tests them. Keep secrets out of a file that others can read: most of them have a
# key for a file of their own.
";

/// Returns the text of a file of settings: each section and key with its meaning, the keys
/// commented out. A node with this file has the defaults.
#[must_use]
pub fn text() -> String {
    let mut text = SETTINGS_HEAD.to_owned();
    let lines = DEFAULT_TOML.lines().skip_while(|line| !line.starts_with('['));
    text.push('\n');
    for line in lines {
        let is_key = !line.is_empty() && !line.starts_with(['#', '[']);
        text.push_str(if is_key { "#" } else { "" });
        text.push_str(line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::reference::{REFERENCE, Reference};

    #[test]
    fn settings_file_holds_each_default_commented_out() {
        let file = text();
        let is_set = |line: &&str| !line.is_empty() && !line.starts_with(['#', '[']);
        assert_eq!(file.lines().find(is_set), None);
        let uncommented: Vec<_> = file
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(key) if !key.starts_with(' ') && !key.is_empty() => key,
                _ => line,
            })
            .collect();
        let reference = Reference::parse(&uncommented.join("\n"));
        assert_eq!(reference, *REFERENCE);
    }
}
