//! Which rows a call means: conditions on key and columns, offset and count.

use super::row::numerical_key;
use crate::precompiled::Failure;
use crate::precompiled::table_manager::Info;
use bcos_types::codes::limit;

/// Comparison, numbered as in the Solidity interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    Equal,
    NotEqual,
    StartsWith,
    EndsWith,
    Contains,
}

impl Op {
    fn of(number: u8) -> Result<Self, Failure> {
        const ALL: [Op; 9] = [
            Op::Greater,
            Op::GreaterEqual,
            Op::Less,
            Op::LessEqual,
            Op::Equal,
            Op::NotEqual,
            Op::StartsWith,
            Op::EndsWith,
            Op::Contains,
        ];
        ALL.get(usize::from(number))
            .copied()
            .ok_or_else(|| Failure::Refused(format!("{number} ConditionOP not exist!")))
    }

    fn holds(self, value: &str, bound: &str) -> bool {
        match self {
            Self::Greater => value > bound,
            Self::GreaterEqual => value >= bound,
            Self::Less => value < bound,
            Self::LessEqual => value <= bound,
            Self::Equal => value == bound,
            Self::NotEqual => value != bound,
            Self::StartsWith => value.starts_with(bound),
            Self::EndsWith => value.ends_with(bound),
            Self::Contains => value.contains(bound),
        }
    }
}

/// The rows a call means.
#[derive(Debug)]
pub(super) struct Selection {
    keys: Vec<(Op, String)>,
    /// Column number, comparison, bound.
    columns: Vec<(usize, Op, String)>,
    pub(super) offset: usize,
    pub(super) count: usize,
}

impl Selection {
    fn new(empty: bool, offset: u32, count: u32) -> Result<Self, Failure> {
        if count > limit::SELECT_ROWS || offset.checked_add(count).is_none() {
            return Err(Failure::Refused("Limit overflow.".into()));
        }
        if empty {
            return Err(Failure::Refused("Condition is empty".into()));
        }
        Ok(Self { keys: Vec::new(), columns: Vec::new(), offset: offset as usize, count: count as usize })
    }

    /// Older form: comparisons of the key alone, greater and less only.
    pub(super) fn of_keys(conditions: &[(u8, String)], offset: u32, count: u32) -> Result<Self, Failure> {
        let mut selection = Self::new(conditions.is_empty(), offset, count)?;
        for (op, bound) in conditions {
            if *op > 3 {
                return Err(Failure::Refused(format!("{op} ConditionOP not exist!")));
            }
            selection.keys.push((Op::of(*op)?, bound.clone()));
        }
        Ok(selection)
    }

    /// Comparisons of named fields.
    pub(super) fn of_fields(
        info: &Info,
        conditions: &[(u8, String, String)],
        offset: u32,
        count: u32,
    ) -> Result<Self, Failure> {
        let mut selection = Self::new(conditions.is_empty(), offset, count)?;
        for (op, field, bound) in conditions {
            let column = info.columns.iter().position(|column| column == field);
            if field == &info.key {
                let op = Op::of(*op)?;
                let textual = matches!(op, Op::StartsWith | Op::EndsWith | Op::Contains);
                let bound = if info.numerical && !textual { numerical_key(bound)? } else { bound.clone() };
                selection.keys.push((op, bound));
            } else if let Some(column) = column {
                selection.columns.push((column, Op::of(*op)?, bound.clone()));
            } else {
                return Err(Failure::Refused("Table condition fields not found".into()));
            }
        }
        Ok(selection)
    }

    /// No row below this key can match.
    pub(super) fn first_key(&self) -> Vec<u8> {
        self.keys
            .iter()
            .filter(|(op, _)| matches!(op, Op::Greater | Op::GreaterEqual | Op::Equal | Op::StartsWith))
            .map(|(_, bound)| bound.as_bytes())
            .max()
            .unwrap_or_default()
            .to_vec()
    }

    /// No row from this key on can match.
    pub(super) fn is_past(&self, key: &str) -> bool {
        self.keys.iter().any(|(op, bound)| match op {
            Op::Less => key >= bound.as_str(),
            Op::LessEqual | Op::Equal => key > bound.as_str(),
            Op::StartsWith => key > bound.as_str() && !key.starts_with(bound.as_str()),
            _ => false,
        })
    }

    pub(super) fn accepts(&self, key: &str, values: &[String]) -> bool {
        self.keys.iter().all(|(op, bound)| op.holds(key, bound))
            && self.columns.iter().all(|(at, op, bound)| op.holds(values.get(*at).map_or("", String::as_str), bound))
    }
}
