//! From program counters to places in sources.

use std::collections::HashMap;

use crate::compiler::{Compilation, CompiledContract};
use crate::diagnostic::position;

/// Where an instruction comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: String,
    pub(super) line: u32,
    pub(super) column: u32,
    pub(super) end_line: u32,
    pub(super) end_column: u32,
    pub(super) jump: String,
}

/// An entry of a source map: start, length, source number, jump.
type Entry = (usize, usize, i64, String);

/// The code of a contract with its source map.
#[derive(Debug)]
pub(super) struct Program<'a> {
    compilation: &'a Compilation,
    /// Number of the instruction by program counter.
    instructions: HashMap<u32, usize>,
    entries: Vec<Entry>,
    places: HashMap<usize, Place>,
}

impl<'a> Program<'a> {
    pub(super) fn new(compilation: &'a Compilation, contract: &'a CompiledContract, creation: bool) -> Self {
        let (code, map) = if creation {
            (&contract.bytecode, &contract.source_map)
        } else {
            (&contract.deployed_bytecode, &contract.deployed_source_map)
        };
        Self { compilation, instructions: instructions(code), entries: entries(map), places: HashMap::new() }
    }

    pub(super) fn place(&mut self, pc: u32) -> Place {
        let Some(index) = self.instructions.get(&pc).copied() else { return Place::default() };
        if let Some(place) = self.places.get(&index) {
            return place.clone();
        }
        let place = self.look_up(index).unwrap_or_default();
        self.places.insert(index, place.clone());
        place
    }

    fn look_up(&self, index: usize) -> Option<Place> {
        let (start, length, source, jump) = self.entries.get(index)?;
        let jump = if jump == "-" { String::new() } else { jump.clone() };
        let unknown = Place { jump: jump.clone(), ..Place::default() };
        // Generated code belongs to no source, or to one that is not shown.
        let Some(file) = u32::try_from(*source).ok().and_then(|id| self.compilation.source_ids.get(&id)) else {
            return Some(unknown);
        };
        let Some(text) = self.compilation.sources.get(file) else { return Some(unknown) };
        let (line, column) = position(text, *start);
        let (end_line, end_column) = position(text, start.saturating_add(*length));
        Some(Place { file: file.clone(), line, column, end_line, end_column, jump })
    }
}

/// Numbers the instructions; what follows a push is data.
fn instructions(code: &str) -> HashMap<u32, usize> {
    let digits = code.strip_prefix("0x").unwrap_or(code).as_bytes();
    let byte = |at: usize| -> u8 {
        // Places for libraries are no digits; they stand inside the data of pushes.
        let pair = digits.get(at * 2..at * 2 + 2).and_then(|pair| std::str::from_utf8(pair).ok());
        pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()).unwrap_or(0)
    };
    let mut numbered = HashMap::new();
    let mut at = 0;
    while at * 2 < digits.len() {
        let Ok(pc) = u32::try_from(at) else { break };
        numbered.insert(pc, numbered.len());
        let op = byte(at);
        at += if (0x60..=0x7f).contains(&op) { usize::from(op - 0x5f) + 1 } else { 1 };
    }
    numbered
}

/// A source map, in which what is left out is as before.
fn entries(map: &str) -> Vec<Entry> {
    let mut made: Vec<Entry> = Vec::new();
    if map.is_empty() {
        return made;
    }
    let mut last: Entry = (0, 0, -1, "-".into());
    for part in map.split(';') {
        for (index, field) in part.split(':').enumerate().filter(|(_, field)| !field.is_empty()) {
            match index {
                0 => last.0 = field.parse().unwrap_or(last.0),
                1 => last.1 = field.parse().unwrap_or(last.1),
                2 => last.2 = field.parse().unwrap_or(last.2),
                3 => field.clone_into(&mut last.3),
                _ => {}
            }
        }
        made.push(last.clone());
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushes_are_one_instruction_and_maps_repeat_what_is_left_out() {
        // PUSH1 80 PUSH1 40 MSTORE STOP
        let numbered = instructions("0x608060405200");
        assert_eq!((numbered[&0], numbered[&2], numbered[&4], numbered[&5]), (0, 1, 2, 3));
        assert!(!numbered.contains_key(&1));
        let read = entries("1:2:1:-;;:9;2:1:2:i;-1:0:-1");
        assert_eq!(read[1], (1, 2, 1, "-".into()));
        assert_eq!(read[2], (1, 9, 1, "-".into()));
        assert_eq!(read[3], (2, 1, 2, "i".into()));
        assert_eq!((read[4].2, read.len()), (-1, 5));
    }
}
