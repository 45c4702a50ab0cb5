//! The tutorial shows the store that is compiled and tested here, all of it and nothing else.

use std::collections::BTreeSet;

const TUTORIAL: &str = include_str!("../../../docs/custom-backend.md");
const STORE: &str = include_str!("../src/memory_store.rs");
const TEST: &str = include_str!("memory_store.rs");

/// The code blocks of this language, in order.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("\n```{language}\n");
    let open = TUTORIAL.split(fence.as_str()).skip(1);
    open.filter_map(|block| block.split_once("\n```"))
        .map(|(code, _)| code)
        .collect()
}

/// A source file without its module documentation.
fn code(file: &str) -> String {
    let is_code = |line: &&str| !line.starts_with("//!");
    file.lines().filter(is_code).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_block_is_in_the_code_and_all_code_is_in_a_block() {
    let mut left = [code(STORE), code(TEST)].concat();
    for block in blocks("rust") {
        let Some(at) = left.find(block) else {
            panic!("this block is not in the code, or stands twice:\n{block}");
        };
        left.replace_range(at..at + block.len(), "");
    }
    assert_eq!(left.trim(), "", "code that the tutorial does not show");
}

#[test]
fn nothing_else_is_needed_than_the_tutorial_says() {
    let [manifest] = blocks("toml")[..] else {
        panic!("one manifest");
    };
    let lines = manifest.lines().filter_map(|line| line.split_once(" = "));
    let depends: BTreeSet<_> = lines.map(|(name, _)| name.replace('-', "_")).collect();
    let code = blocks("rust").join("\n");
    let words = code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_crate = |word: &&str| word.starts_with("reveille_") || depends.contains(*word);
    let uses: BTreeSet<_> = words.filter(is_crate).map(str::to_owned).collect();
    assert_eq!(uses, depends);
}
