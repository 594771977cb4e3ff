//! The options of `XADD` and `XTRIM`.

use bytes::Bytes;

use super::ids::{checked_integer, id};
use super::{CommandError, other};
use crate::log::Excess;

const LIMIT_OF_EXACT: &str = "ERR syntax error, LIMIT cannot be used without the special ~ option";

/// Which entries are to go, and how many of them at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trim {
    pub(super) excess: Excess,
    pub(super) limit: usize,
}

/// The options before the id of `XADD`, and behind the key of `XTRIM`.
#[derive(Debug, Default)]
pub(super) struct TrimOptions {
    /// `XADD` makes no new log.
    pub(super) must_exist: bool,
    of_add: bool,
    excess: Option<Excess>,
    /// `~`: Redis may keep somewhat more than the threshold. Here it only permits a limit.
    is_about: bool,
    limit: Option<usize>,
}

impl TrimOptions {
    /// Takes options from the front of the arguments. In `XADD` the first other argument is the
    /// id; in `XTRIM` it is an error.
    pub(super) fn parse(arguments: &[Bytes], of_add: bool) -> Result<(Self, &[Bytes]), CommandError> {
        let mut options = Self { of_add, ..Self::default() };
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
                    options.take_excess(behind, |least| id(least, 0).map(Excess::Before))?
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

    /// The entries to remove. `None` without a bound, which only `XADD` permits.
    pub(super) fn trim(&self) -> Result<Option<Trim>, CommandError> {
        let Some(excess) = self.excess else {
            return match self.limit {
                Some(1..) => Err(other(
                    "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
                )),
                Some(0) if self.of_add => Err(other(LIMIT_OF_EXACT)),
                _ if self.of_add => Ok(None),
                _ => Err(other("ERR syntax error, XTRIM must be called with a trimming strategy")),
            };
        };
        if self.limit.is_some() && !self.is_about {
            return Err(other(LIMIT_OF_EXACT));
        }
        let limit = self.limit.filter(|&limit| limit > 0).unwrap_or(usize::MAX);
        Ok(Some(Trim { excess, limit }))
    }
}
