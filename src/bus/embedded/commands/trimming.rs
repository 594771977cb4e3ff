//! The options of `XADD` and `XTRIM`.

use bytes::Bytes;

use super::ids::{bound, checked_integer};
use super::{CommandError, other};
use crate::bus::embedded::log::Excess;

/// Which entries are to go, and how many of them at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trim {
    pub(super) excess: Excess,
    pub(super) limit: usize,
}

/// What stands before the id of `XADD`, and behind the key of `XTRIM`.
#[derive(Debug, Default)]
pub(super) struct Options {
    /// `XADD` makes no new log.
    pub(super) must_exist: bool,
    excess: Option<Excess>,
    /// `~`: Redis may keep somewhat more than it is told. Here it means nothing but that there may be a limit.
    is_about: bool,
    limit: Option<usize>,
}

impl Options {
    /// Takes options off the front of the arguments. In `XADD` the first word that is none is the id; in `XTRIM` it is one
    /// too many.
    pub(super) fn parse(arguments: &[Bytes], of_add: bool) -> Result<(Self, &[Bytes]), CommandError> {
        let mut options = Self::default();
        let mut rest = arguments;
        while let [option, behind @ ..] = rest {
            let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
            rest = match behind {
                [_, ..] if is("maxlen") => options.take_excess(behind, |most| {
                    let most = checked_integer(most)?;
                    let most =
                        usize::try_from(most).map_err(|_| other("ERR The MAXLEN argument must be >= 0."))?;
                    Ok(Excess::Entries(most))
                })?,
                [_, ..] if is("minid") => {
                    options.take_excess(behind, |id| bound(id, 0).map(Excess::Before))?
                }
                [limit, behind @ ..] if is("limit") => {
                    let limit = usize::try_from(checked_integer(limit)?)
                        .map_err(|_| other("ERR The LIMIT argument must be >= 0."))?;
                    options.limit = Some(limit);
                    behind
                }
                _ if of_add && is("nomkstream") => {
                    options.must_exist = true;
                    behind
                }
                _ if of_add => break,
                _ => return Err(other("ERR syntax error")),
            };
        }
        Ok((options, rest))
    }

    /// Takes `[=|~] threshold`.
    fn take_excess<'a>(
        &mut self,
        arguments: &'a [Bytes],
        excess: impl FnOnce(&Bytes) -> Result<Excess, CommandError>,
    ) -> Result<&'a [Bytes], CommandError> {
        if self.excess.is_some() {
            let text = "ERR syntax error, MAXLEN and MINID options at the same time are not compatible";
            return Err(other(text));
        }
        let (threshold, rest) = match arguments {
            [how, threshold, rest @ ..] if how == "~" || how == "=" => {
                self.is_about = how == "~";
                (threshold, rest)
            }
            [threshold, rest @ ..] => {
                self.is_about = false;
                (threshold, rest)
            }
            [] => return Err(other("ERR syntax error")),
        };
        self.excess = Some(excess(threshold)?);
        Ok(rest)
    }

    /// What is to go, if anything is.
    pub(super) fn trim(&self) -> Result<Option<Trim>, CommandError> {
        match (self.excess, self.limit) {
            // Redis takes a limit of 0 for none, and so for none that is missing its threshold.
            (None, Some(1..)) => {
                Err(other("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy"))
            }
            (None, _) => Ok(None),
            (Some(_), Some(_)) if !self.is_about => {
                Err(other("ERR syntax error, LIMIT cannot be used without the special ~ option"))
            }
            (Some(excess), limit) => {
                let limit = limit.filter(|&limit| limit > 0).unwrap_or(usize::MAX);
                Ok(Some(Trim { excess, limit }))
            }
        }
    }
}
