//! Projects: files, versions, archives, and what is refused.

use std::io::{Cursor, Write as _};

use konsort_workbench::project::{Files, MAX_FILE_BYTES, Project, ProjectError};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

fn files(entries: &[(&str, &str)]) -> Files {
    entries.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect()
}

fn project(folder: &tempfile::TempDir) -> Project {
    Project::create(
        &folder.path().join("prj"),
        &files(&[("A.sol", "contract A {}\n"), ("lib/B.sol", "contract B {}\n")]),
    )
    .unwrap()
}

fn paths(project: &Project) -> Vec<String> {
    project.list().unwrap().into_iter().map(|entry| entry.path).collect()
}

#[test]
fn files_are_written_renamed_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let project = project(&folder);
    let entry = project.write("lib/deep/存证.sol", b"x", Some("")).unwrap();
    assert_eq!(paths(&project), ["A.sol", "lib/B.sol", "lib/deep/存证.sol"]);
    assert!(
        matches!(project.write("lib/deep/存证.sol", b"y", Some("")), Err(ProjectError::Changed { .. })),
        "it is there already"
    );
    let entry = project.write("lib/deep/存证.sol", b"y", Some(&entry.hash)).unwrap();
    assert!(matches!(project.write("lib/deep/存证.sol", b"z", Some("0000")), Err(ProjectError::Changed { .. })));
    assert_eq!((project.read("lib/deep/存证.sol").unwrap(), entry.size), (b"y".to_vec(), 1));
    project.rename("lib", "src").unwrap();
    assert_eq!(paths(&project), ["A.sol", "src/B.sol", "src/deep/存证.sol"]);
    assert!(project.rename("src", "src/inside").is_err());
    assert!(project.rename("A.sol", "src/B.sol").is_err());
    project.delete("src/deep/存证.sol").unwrap();
    project.delete("src").unwrap();
    assert_eq!(paths(&project), ["A.sol"]);
    assert!(matches!(project.delete("src"), Err(ProjectError::NotFound(_))));
    assert!(project.write("A.sol/below", b"", None).is_err(), "a file is no folder");
    let path = folder.path().join("prj");
    assert!(Project::create(&path, &Files::new()).is_err(), "it exists");
    Project::open(&path).unwrap().remove().unwrap();
    assert!(Project::open(&path).is_err());
}

#[test]
fn paths_cannot_leave_the_project() {
    let folder = tempfile::tempdir().unwrap();
    let project = project(&folder);
    std::fs::write(folder.path().join("secret"), "secret").unwrap();
    for path in
        ["../secret", "lib/../../secret", "/etc/passwd", "..", ".", "", "a\\b", "a\0", "lib//B.sol", ".git/config"]
    {
        assert!(matches!(project.read(path), Err(ProjectError::Path { .. })), "{path:?}");
        assert!(matches!(project.write(path, b"x", None), Err(ProjectError::Path { .. })), "{path:?}");
        assert!(matches!(project.delete(path), Err(ProjectError::Path { .. })), "{path:?}");
        assert!(matches!(project.rename("A.sol", path), Err(ProjectError::Path { .. })), "{path:?}");
    }
    std::os::unix::fs::symlink(folder.path(), folder.path().join("prj/files/out")).unwrap();
    assert!(project.read("out/secret").is_err() && project.write("out/evil", b"", None).is_err());
    assert_eq!(paths(&project), ["A.sol", "lib/B.sol"], "links are not followed");
    assert!(Project::create(&folder.path().join("other"), &files(&[("../x", "")])).is_err());
    assert!(!folder.path().join("x").exists());
}

#[test]
fn sizes_and_counts_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let project = project(&folder);
    let large = vec![b'x'; MAX_FILE_BYTES as usize];
    assert!(matches!(
        project.write("big", &[large.as_slice(), b"x"].concat(), None),
        Err(ProjectError::TooLarge { .. })
    ));
    let mut refused = None;
    for index in 0..20 {
        if let Err(error) = project.write(&format!("big{index}"), &large, None) {
            refused = Some((index, error));
            break;
        }
    }
    let (index, error) = refused.expect("32 MiB are the limit");
    assert_eq!(index, 15, "{error}");
    project.write("big0", &large, None).unwrap();
}

#[test]
fn versions_do_not_change_and_differ_line_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let project = project(&folder);
    let first = project.commit("ann", "first", 1000).unwrap();
    assert_eq!((first.number, first.created_at), (1, 1000));
    assert_eq!(project.commit("bob", "again", 2000).unwrap(), first, "nothing has changed");
    project.write("A.sol", b"contract A {\n    uint256 x;\n}\n", None).unwrap();
    project.delete("lib/B.sol").unwrap();
    project.write("C.bin", &[0, 159, 146], None).unwrap();
    let working = project.diff(Some(1), None).unwrap();
    let second = project.commit("bob", "second", 3000).unwrap();
    assert_eq!(second.number, 2);
    let changes = project.diff(Some(1), Some(2)).unwrap();
    assert_eq!(working, changes);
    let kinds: Vec<(&str, &str)> =
        changes.iter().map(|change| (change.path.as_str(), change.change.as_str())).collect();
    assert_eq!(kinds, [("A.sol", "changed"), ("C.bin", "added"), ("lib/B.sol", "removed")]);
    assert!(
        changes[0].diff.contains("+    uint256 x;\n") && changes[0].diff.starts_with("--- a/A.sol\n+++ b/A.sol\n"),
        "{}",
        changes[0].diff
    );
    assert_eq!((changes[0].added, changes[0].removed), (3, 1));
    assert!(changes[1].binary && changes[1].diff.is_empty());
    project.restore(1).unwrap();
    assert_eq!(paths(&project), ["A.sol", "lib/B.sol"]);
    assert_eq!(project.commit("eve", "back", 4000).unwrap().hash, first.hash, "equal content, equal hash");
    assert_eq!(project.versions().unwrap().iter().map(|version| version.number).collect::<Vec<_>>(), [3, 2, 1]);
    let page = project.version_page(Some(3), 1).unwrap();
    assert!(page.len() == 1 && page[0].number == 2 && page[0].files.is_empty());
    assert_eq!(project.version_page(None, 9).unwrap().len(), 3);
    assert!(matches!(project.version(9), Err(ProjectError::NotFound(_))));
}

#[test]
fn changes_at_once_exclude_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let project = project(&folder);
    let root = folder.path().join("prj");
    let (one, other) =
        (archive(&[("A.sol", b"one"), ("B.sol", b"one")]), archive(&[("A.sol", b"two"), ("B.sol", b"two")]));
    project.import_zip(&one).unwrap();
    let start = project.write("n", b"0", None).unwrap().hash;
    let written = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let project = Project::open(&root).unwrap();
                if project.write("n", b"1", Some(&start)).is_ok() {
                    written.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(written.into_inner(), 1, "one of those who read the same content may write");
    std::thread::scope(|scope| {
        for archive in [&one, &other] {
            let root = &root;
            scope.spawn(move || (0..50).for_each(|_| drop(Project::open(root).unwrap().import_zip(archive).unwrap())));
        }
        for author in ["ann", "bob"] {
            let root = &root;
            scope.spawn(move || {
                for now in 0..50 {
                    let project = Project::open(root).unwrap();
                    let files = project.files(None).unwrap();
                    assert_eq!(files["A.sol"], files["B.sol"], "files of two archives");
                    project.commit(author, "", now).unwrap();
                }
            });
        }
    });
    assert_eq!(std::fs::read_dir(root.join("files")).unwrap().count(), 2);
}

#[test]
fn a_changed_object_or_record_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let project = project(&folder);
    let version = project.commit("ann", "first", 1).unwrap();
    let root = folder.path().join("prj");
    let object = root.join("objects").join(&version.files[0].hash);
    let content = std::fs::read(&object).unwrap();
    std::fs::write(&object, "contract Evil {}").unwrap();
    assert!(matches!(project.files(Some(1)), Err(ProjectError::Damaged { .. })));
    std::fs::write(&object, content).unwrap();
    project.files(Some(1)).unwrap();
    let record = root.join("versions/1.json");
    let text = std::fs::read_to_string(&record).unwrap();
    std::fs::write(&record, text.replace("A.sol", "../../x")).unwrap();
    assert!(project.files(Some(1)).is_err());
    std::fs::write(&record, text.replace("A.sol", "Z.sol")).unwrap();
    assert!(matches!(project.version(1), Err(ProjectError::Damaged { .. })));
}

#[test]
fn an_interrupted_replacement_is_finished_when_the_project_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    project(&folder);
    let root = folder.path().join("prj");
    std::fs::rename(root.join("files"), root.join("files.old")).unwrap();
    std::fs::create_dir(root.join("files.new")).unwrap();
    let project = Project::open(&root).unwrap();
    assert_eq!(paths(&project), ["A.sol", "lib/B.sol"]);
    project.import_zip(&archive(&[("B.sol", b"b")])).unwrap();
    assert_eq!(paths(&project), ["B.sol"]);
}

fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        writer.start_file(*name, SimpleFileOptions::default()).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn archives_go_out_and_in() {
    let folder = tempfile::tempdir().unwrap();
    let project = project(&folder);
    let out = project.export_zip(None).unwrap();
    assert_eq!(out, project.export_zip(None).unwrap(), "the same files, the same bytes");
    let second = Project::create(&folder.path().join("second"), &Files::new()).unwrap();
    second.import_zip(&out).unwrap();
    assert_eq!(second.files(None).unwrap(), project.files(None).unwrap());
    second
        .import_zip(&archive(&[
            ("top/a.js", b"a"),
            ("top/src/b.js", b"b"),
            ("top/node_modules/x/y.js", b"n"),
            ("__MACOSX/._a", b"m"),
        ]))
        .unwrap();
    assert_eq!(paths(&second), ["a.js", "src/b.js"], "the folder around it and what tools make stay out");
    second.import_zip(&archive(&[("src/main.rs", b"a")])).unwrap();
    assert_eq!(paths(&second), ["src/main.rs"]);
}

#[test]
fn archives_with_tricks_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let project = project(&folder);
    let before = project.files(None).unwrap();
    let zeros = vec![0_u8; MAX_FILE_BYTES as usize - 1];
    let many: Vec<(String, Vec<u8>)> = (0..17).map(|index| (format!("f{index}"), zeros.clone())).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
    let names: Vec<String> = (0..2100).map(|index| format!("f{index}")).collect();
    let count: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), b"".as_slice())).collect();
    let one_large = vec![0_u8; 6 * 1024 * 1024];
    let mut link = ZipWriter::new(Cursor::new(Vec::new()));
    link.add_symlink("a", "/etc/passwd", SimpleFileOptions::default()).unwrap();
    let link = link.finish().unwrap().into_inner();
    let large = archive(&[("bomb", &one_large)]);
    assert!(large.len() < 20_000, "it is small before it is unpacked");
    // Two records of one entry: the size that the header states is made up.
    let mut lying = large.clone();
    let sizes: Vec<usize> =
        (0..lying.len() - 4).filter(|at| lying[*at..*at + 4] == (one_large.len() as u32).to_le_bytes()).collect();
    for at in sizes {
        lying[at..at + 4].copy_from_slice(&10_u32.to_le_bytes());
    }
    for (what, bytes) in [
        ("a name that leads out", archive(&[("../evil", b"x")])),
        ("a name that leads out later", archive(&[("a/../../evil", b"x")])),
        ("an absolute name", archive(&[("/tmp/evil", b"x")])),
        ("a backslash", archive(&[("..\\evil", b"x")])),
        ("a link", link),
        ("a large file", large),
        ("a file larger than it says", lying),
        ("many large files", archive(&many)),
        ("many files", archive(&count)),
        ("a file as a folder", archive(&[("a", b"x"), ("a/b", b"y")])),
        ("no archive", b"PK\x03\x04 nothing".to_vec()),
        ("nothing", Vec::new()),
    ] {
        let begun = std::time::Instant::now();
        assert!(project.import_zip(&bytes).is_err(), "{what}");
        assert!(begun.elapsed().as_secs() < 20, "{what}");
        assert_eq!(project.files(None).unwrap(), before, "{what}");
    }
    assert!(!folder.path().join("evil").exists());
}
