//! Pages as what the tests ask about: headings, blocks, tables, links, words in code.

use std::path::{Path, PathBuf};

use conformance::workspace;

/// The languages, that of the rules first.
pub(super) const LANGUAGES: [&str; 2] = ["en", "zh"];

/// The pages in the order in which their commands run.
pub(super) const PAGES: [&str; 6] = ["README.md", "first-steps.md", "fabric.md", "bcos.md", "operation.md", "api.md"];

#[derive(Debug)]
pub(super) struct Heading {
    pub(super) level: usize,
    slug: String,
}

#[derive(Debug)]
pub(super) struct Block {
    /// The word behind the fence.
    pub(super) kind: String,
    /// Line of its first line, from 1.
    pub(super) line: usize,
    pub(super) text: String,
}

#[derive(Debug)]
pub(super) struct Page {
    /// As `en/api.md`.
    pub(super) name: String,
    path: PathBuf,
    pub(super) headings: Vec<Heading>,
    pub(super) blocks: Vec<Block>,
    /// Columns of every row of every table.
    pub(super) tables: Vec<usize>,
    pub(super) links: Vec<String>,
    /// Words in code with their line.
    pub(super) inline: Vec<(usize, String)>,
}

pub(super) fn page(language: &str, name: &str) -> Page {
    Page::read(&workspace().join("docs").join(language).join(name))
}

pub(super) fn every_page() -> Vec<Page> {
    LANGUAGES.iter().flat_map(|language| PAGES.map(|name| page(language, name))).collect()
}

impl Page {
    pub(super) fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let folder = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
        let mut page = Self {
            name: format!("{folder}/{}", path.file_name().unwrap_or_default().to_string_lossy()),
            path: path.to_path_buf(),
            headings: Vec::new(),
            blocks: Vec::new(),
            tables: Vec::new(),
            links: Vec::new(),
            inline: Vec::new(),
        };
        let mut open: Option<Block> = None;
        for (index, line) in text.lines().enumerate() {
            match (line.strip_prefix("```"), &mut open) {
                (Some(_), Some(_)) => page.blocks.extend(open.take()),
                (Some(kind), None) => {
                    open = Some(Block { kind: kind.to_owned(), line: index + 2, text: String::new() });
                }
                (None, Some(block)) => {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
                (None, None) => page.line(index + 1, line),
            }
        }
        assert!(open.is_none(), "{}: a block does not end", page.name);
        page
    }

    fn line(&mut self, number: usize, line: &str) {
        let level = line.bytes().take_while(|byte| *byte == b'#').count();
        if level > 0 && line[level..].starts_with(' ') {
            self.headings.push(Heading { level, slug: slug(&line[level + 1..]) });
        }
        let mut text = String::new();
        // What is between backquotes is code, the rest may hold links and columns.
        for (place, part) in line.split('`').enumerate() {
            if place % 2 == 1 {
                self.inline.push((number, part.to_owned()));
            } else {
                text.push_str(part);
            }
        }
        if line.starts_with('|') {
            self.tables.push(text.matches('|').count());
        }
        for part in text.split("](").skip(1) {
            let link = part.split(')').next().unwrap_or_default();
            if !link.starts_with("https://") {
                self.links.push(link.to_owned());
            }
        }
    }

    /// Whether a link of this page has an end.
    pub(super) fn follow(&self, link: &str) -> Result<(), String> {
        let (file, place) = link.split_once('#').map_or((link, None), |(file, place)| (file, Some(place)));
        let target =
            if file.is_empty() { self.path.clone() } else { self.path.parent().unwrap_or(Path::new("")).join(file) };
        if !target.exists() {
            return Err(format!("{} does not exist", target.display()));
        }
        let Some(place) = place else { return Ok(()) };
        let there = Self::read(&target);
        if there.headings.iter().any(|heading| heading.slug == place) {
            Ok(())
        } else {
            Err(format!("{} has no heading #{place}", there.name))
        }
    }
}

/// The place name that a heading gets where the pages are shown.
fn slug(heading: &str) -> String {
    let letters = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    letters.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}
