//! Every file of the corpora through its function: what fuzzing has found stays found, on any compiler.

use std::fs;
use std::path::PathBuf;

/// Replays the corpus of a target. Much of it is there for being refused, but a tenth must have something to check:
/// else the format that it was made for is gone, and the corpus is to be made anew.
fn replay(name: &str, target: fn(&[u8]) -> usize) {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../corpus").join(name);
    let mut paths: Vec<PathBuf> = fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let mut telling = 0;
    for path in &paths {
        let data = fs::read(path).unwrap();
        // The file that fails is the last one named.
        eprintln!("{}", path.display());
        telling += usize::from(target(&data) > 0);
    }
    assert!(paths.len() >= 20, "{} has {} files", directory.display(), paths.len());
    assert!(telling * 10 >= paths.len(), "only {telling} of {} files in {} still mean something", paths.len(), name);
}

#[test]
fn the_corpus_of_certificates_holds() {
    replay("certificates", fuzz_targets::certificates);
}

#[test]
fn the_corpus_of_the_decoder_holds() {
    replay("decoder", fuzz_targets::decoder);
}

#[test]
fn the_corpus_of_topic_filters_holds() {
    replay("topic_filters", fuzz_targets::topic_filters);
}

#[test]
fn the_corpus_of_messages_holds() {
    replay("messages", fuzz_targets::messages);
}

#[test]
fn the_corpus_of_sessions_holds() {
    replay("session", fuzz_targets::session);
}
