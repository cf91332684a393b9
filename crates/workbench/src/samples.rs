//! Contracts to start from, for both engines.

use serde::Serialize;
use utoipa::ToSchema;

use crate::interface::Engine;
use crate::project::{Files, Language};

/// A sample contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Sample {
    /// Its id: `solidity-evidence`.
    pub id: &'static str,
    /// Language.
    pub language: Language,
    /// Engine.
    pub engine: Engine,
    /// Title, English.
    pub title: &'static str,
    /// Title, Chinese.
    pub title_zh: &'static str,
    /// What it shows, English.
    pub description: &'static str,
    /// What it shows, Chinese.
    pub description_zh: &'static str,
    /// The file to open first.
    pub main: &'static str,
    /// Its files' paths.
    pub paths: Vec<&'static str>,
}

/// All samples.
pub fn all() -> Vec<Sample> {
    todo!()
}
/// The files of one; `None` when there is no such sample.
pub fn files(id: &str) -> Option<Files> {
    todo!()
}
/// The smallest project of a language, for those who start from nothing.
pub fn empty(language: Language) -> Files {
    todo!()
}
