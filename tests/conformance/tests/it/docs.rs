//! The documentation: both languages say the same, what they name exists, and every command in them works.
//!
//! Of the fenced blocks of a page, `sh` is run, page by page in one shell; `console` is what needs more than this program (a build, a
//! database, containers) and is compared with the help of the program instead; everything else is shown and not run.

mod names;
mod pages;
mod session;

use std::collections::BTreeSet;

use conformance::workspace;
use pages::{LANGUAGES, PAGES, Page, every_page, page};

#[test]
fn both_languages_have_the_same_pages_headings_and_code() {
    let names = |language: &str| -> BTreeSet<String> {
        let folder = workspace().join("docs").join(language);
        let files = std::fs::read_dir(folder).unwrap().flatten();
        files.map(|file| file.file_name().to_string_lossy().into_owned()).collect()
    };
    let [english, chinese] = LANGUAGES.map(names);
    assert_eq!(english, chinese, "pages of docs/en and docs/zh");
    let known: BTreeSet<String> = PAGES.iter().map(|page| (*page).to_owned()).collect();
    assert_eq!(english, known, "a new page has to be named in the test, at its place in the order");
    for name in PAGES {
        let (english, chinese) = (page("en", name), page("zh", name));
        let levels = |page: &Page| page.headings.iter().map(|heading| heading.level).collect::<Vec<_>>();
        assert_eq!(levels(&english), levels(&chinese), "headings of {name}");
        assert_eq!(english.tables, chinese.tables, "columns of the rows of the tables of {name}");
        let blocks =
            |page: &Page| page.blocks.iter().map(|block| (block.kind.clone(), block.text.clone())).collect::<Vec<_>>();
        for (one, other) in blocks(&english).iter().zip(blocks(&chinese)) {
            assert_eq!(*one, other, "a block of {name}");
        }
        assert_eq!(english.blocks.len(), chinese.blocks.len(), "blocks of {name}");
        for block in &english.blocks {
            let known = ["sh", "console", "text", "json", "nginx"].contains(&block.kind.as_str());
            assert!(known, "{name}:{}: {:?} is no kind of block that is known here", block.line, block.kind);
        }
    }
}

#[test]
fn every_link_leads_somewhere() {
    let mut count = 0;
    let mut pages = every_page();
    pages.push(Page::read(&workspace().join("README.md")));
    for page in pages {
        for link in &page.links {
            page.follow(link).unwrap_or_else(|why| panic!("{}: {link}: {why}", page.name));
            count += 1;
        }
    }
    println!("{count} links lead somewhere");
    assert!(count >= 20, "only {count} links were found");
}

#[test]
fn every_command_and_option_exists() {
    let mut help = names::Help::new();
    let (mut lines, mut inline, mut faults) = (0, 0, Vec::new());
    for page in every_page() {
        for block in page.blocks.iter().filter(|block| matches!(block.kind.as_str(), "sh" | "console")) {
            for words in names::konsort_lines(&block.text) {
                faults.extend(help.check(&words).err().map(|why| format!("{}:{}: {why}", page.name, block.line)));
                lines += 1;
            }
        }
        for (line, text) in &page.inline {
            let checked = if text.starts_with("konsort ") {
                names::konsort_lines(text).iter().try_for_each(|words| help.check(words))
            } else if text.starts_with("--") {
                help.has_option(text)
            } else {
                continue;
            };
            faults.extend(checked.err().map(|why| format!("{}:{line}: {why}", page.name)));
            inline += 1;
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    println!("{lines} commands of blocks and {inline} commands and options in the text exist");
    assert!(lines > 100 && inline > 40, "only {lines} and {inline} were found");
}

#[test]
fn every_endpoint_is_in_the_api_document() {
    let document = std::fs::read(workspace().join("crates/platform/openapi.json")).unwrap();
    let document: serde_json::Value = serde_json::from_slice(&document).unwrap();
    let mut count = 0;
    for page in every_page() {
        for (line, text) in &page.inline {
            if let Some(fault) = names::endpoint_fault(&document, text) {
                panic!("{}:{line}: {text}: {fault}", page.name);
            }
            count += usize::from(names::is_endpoint(text));
        }
    }
    println!("{count} endpoints are in the document");
    assert!(count > 40, "only {count} were found");
}

#[test]
fn every_command_works_as_it_is_written() {
    for needed in ["curl", "jq"] {
        assert!(conformance::has_program(needed), "{needed} is not there and cannot be installed");
    }
    // `konsort up` takes this port when it is free; that of another test at the same moment would find it so, too.
    let _taken = std::net::TcpListener::bind("127.0.0.1:8080");
    for language in LANGUAGES {
        let told = session::run(language);
        println!(
            "{language}: {} blocks with {} commands of the program ran in {} s; {} blocks only name commands",
            told.blocks, told.commands, told.seconds, told.shown
        );
        assert!(told.blocks > 40 && told.commands > 80, "{told:?}");
        assert!(told.shown * 8 <= told.blocks, "too much of the documentation is not run: {told:?}");
    }
}
