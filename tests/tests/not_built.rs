//! Every operation that AWS has is answered: by its handler, or 501 by its name.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use registry::{Operation, Plane};
use std::collections::BTreeSet;
use system_tests::http::{Proof, Sent, send};
use system_tests::platform::platform;

const README: &str = include_str!("../../README.md");
const SECTION: &str = "### Operations that are not there yet";

/// The operations in the table of the README.
fn in_readme() -> BTreeSet<&'static str> {
    let section = README.split(SECTION).nth(1).expect("the README has the section");
    let rows = section.split("\n###").next().unwrap().lines().filter(|line| line.starts_with("| "));
    let names = rows.skip(1).filter_map(|row| row.rsplit(" | ").next());
    names.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect()
}

fn not_built() -> Vec<(Plane, &'static service_model::Operation)> {
    let rows = Plane::ALL.into_iter().flat_map(|plane| plane.model().operations().map(move |row| (plane, row)));
    rows.filter(|(plane, row)| Operation::built(*plane, row.name).is_none()).collect()
}

#[test]
fn the_readme_lists_what_is_not_built_and_nothing_else() {
    let missing: BTreeSet<&str> = not_built().into_iter().map(|(_, row)| row.name).collect();
    let listed = in_readme();
    let unlisted: Vec<_> = missing.difference(&listed).collect();
    assert_eq!(unlisted, [&""; 0], "add these to \"{SECTION}\" in README.md");
    let built: Vec<_> = listed.difference(&missing).collect();
    assert_eq!(built, [&""; 0], "these are built: take them out of \"{SECTION}\" in README.md");
}

#[tokio::test]
async fn an_operation_that_is_not_built_is_refused_by_its_name() {
    let mut wrong = Vec::new();
    let all = not_built();
    assert!(all.len() > 10, "{}", all.len());
    for (plane, row) in all {
        let service = match plane {
            Plane::Iot => "iot",
            Plane::IotData => "iotdata",
            Plane::IotJobsData => "iot-jobs-data",
        };
        let path = row.uri_template.replace(['{', '}', '+'], "");
        let answer = send(platform(), &Proof::parse(service), &Sent::new(row.method, &path, "{}")).await;
        let message = String::from_utf8_lossy(&answer.body).into_owned();
        if answer.verdict() != "501 NotImplementedException" || !message.contains(row.name) {
            wrong.push(format!("{} {path}: {} {message}", row.name, answer.verdict()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn who_is_nobody_does_not_learn_what_is_built() {
    for (_, row) in not_built().into_iter().take(20) {
        let path = row.uri_template.replace(['{', '}', '+'], "");
        let answer = send(platform(), &Proof::parse("unsigned"), &Sent::new(row.method, &path, "{}")).await;
        assert_eq!(answer.verdict(), "403 MissingAuthenticationTokenException", "{}", row.name);
    }
}
