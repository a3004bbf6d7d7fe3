//! The query grammar: AWS's documented examples, what is left open there, and what is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use fleet_index::query::{Bound, Condition, Expression, PatternToken, Term};
use fleet_index::{Limits, Problem, Query};
use proptest::prelude::*;

/// A query in a form that shows how it was understood.
fn understood(text: &str) -> String {
    show(Query::parse(text, &Limits::STANDARD).unwrap_or_else(|error| panic!("{text}: {error}")).expression())
}

fn show(node: &Expression) -> String {
    let join = |parts: &[Expression], word: &str| parts.iter().map(show).collect::<Vec<_>>().join(word);
    match node {
        Expression::All => "all".to_owned(),
        Expression::Term(term) => show_term(term),
        Expression::Not(inner) => format!("!{}", show(inner)),
        Expression::And(parts) => format!("({})", join(parts, " & ")),
        Expression::Or(parts) => format!("({})", join(parts, " | ")),
    }
}

fn show_term(term: &Term) -> String {
    let condition = match &term.condition {
        Condition::Exists => "exists".to_owned(),
        Condition::Equal { text, number: None } => format!("={text}"),
        Condition::Equal { text, number: Some(number) } => format!("={text}|{number}"),
        Condition::Phrase(words) => format!("={}", words.join("+")),
        Condition::Pattern(tokens) => {
            let token = |token: &PatternToken| match token {
                PatternToken::Character(character) => *character,
                PatternToken::One => '¿',
                PatternToken::Many => '…',
            };
            format!("~{}", tokens.iter().map(token).collect::<String>())
        }
        Condition::Numbers(low, high) => format!("#{}", show_range(low, high)),
        Condition::Texts(low, high) => format!("${}", show_range(low, high)),
    };
    format!("{}{condition}", term.field.as_deref().unwrap_or_default())
}

fn show_range<T: std::fmt::Display>(low: &Bound<T>, high: &Bound<T>) -> String {
    let low = match low {
        Bound::Open => "(".to_owned(),
        Bound::Including(value) => format!("[{value}"),
        Bound::Excluding(value) => format!("{{{value}"),
    };
    let high = match high {
        Bound::Open => ")".to_owned(),
        Bound::Including(value) => format!("{value}]"),
        Bound::Excluding(value) => format!("{value}}}"),
    };
    format!("{low}..{high}")
}

#[test]
fn queries_are_understood() {
    for (text, expected) in [
        // AWS's "Example thing queries"
        ("abc", "=abc"),
        ("thingName:myThingName", "thingName=mythingname"),
        ("thingName:my*", "thingName~my…"),
        ("thingName:*my*", "thingName~…my…"),
        ("thingName:ab?", "thingName~ab¿"),
        ("attributes.myAttribute:75", "attributes.myAttribute=75|75"),
        ("attributes.myAttribute:[75 TO 80]", "attributes.myAttribute#[75..80]"),
        ("attributes.myAttribute:{75 TO 80]", "attributes.myAttribute#{75..80]"),
        ("attributes.serialNumber:[\"abcd\" TO \"abcf\"]", "attributes.serialNumber$[abcd..abcf]"),
        ("attributes.myAttribute:i*t", "attributes.myAttribute~i…t"),
        (
            "attributes.attr1:abc AND attributes.attr2<5 NOT attributes.attr3>10",
            "(attributes.attr1=abc & attributes.attr2#(..5} & !attributes.attr3#{10..))",
        ),
        ("NOT attributes.model:legacy", "!attributes.model=legacy"),
        (
            "shadow.reported.stats.battery:{70 TO 100} (v2 OR v3) NOT attributes.model:legacy",
            "(shadow.reported.stats.battery#{70..100} & (=v2 | =v3) & !attributes.model=legacy)",
        ),
        (
            "shadow.reported.location:* NOT shadow.desired.stats.battery:*",
            "(shadow.reported.locationexists & !shadow.desired.stats.batteryexists)",
        ),
        (
            "connectivity.connected:true AND connectivity.timestamp : [1557651600000 TO 1557867600000]",
            "(connectivity.connected=true & connectivity.timestamp#[1557651600000..1557867600000])",
        ),
        ("connectivity.timestamp > 1557651600000", "connectivity.timestamp#{1557651600000..)"),
        // and its "Query syntax"
        ("thingName:(tv* AND -plasma)", "(thingName~tv… & !thingName=plasma)"),
        ("thingName:abc thingType:xyz", "(thingName=abc & thingType=xyz)"),
        // operators
        ("*", "all"),
        ("a OR b c", "(=a | (=b & =c))"),
        ("a b OR c d", "((=a & =b) | (=c & =d))"),
        ("(a OR b) c", "((=a | =b) & =c)"),
        ("a and b or not c", "(=a & =and & =b & =or & =not & =c)"),
        ("+a +b -c", "(=a & =b & !=c)"),
        ("NOT NOT a", "=a"),
        ("NOT -a", "=a"),
        ("a NOT (b OR -c)", "(=a & !(=b | !=c))"),
        ("NOT(a)b", "(!=a & =b)"),
        ("ORDER ANDY NOTE", "(=order & =andy & =note)"),
        ("\\AND", "=and"),
        ("\"AND\" OR:x", "(=and & OR=x)"),
        // values
        ("a:\"New  York\"", "a=new+york"),
        ("a:\"York\"", "a=york"),
        ("a:\"x*\\\"y\"", "a=x*\"y"),
        ("a:\"\"", "a="),
        ("a:x\\*y\\?", "a=x*y?"),
        ("a:x\\*y*", "a~x*y…"),
        ("a:b\\ c", "a=b+c"),
        ("a\\:b:c", "a:b=c"),
        ("a:b:c", "a=b:c"),
        ("a:2020-01-01T10:00", "a=2020-01-01t10:00"),
        ("a:-5", "a=-5|-5"),
        ("a:x@y/z,#;'%`", "a=x@y/z,#;'%`"),
        ("a:**", "aexists"),
        ("a:?", "a~¿"),
        ("a:x**y", "a~x…y"),
        ("a:Ä", "a=ä"),
        // ranges and comparisons
        ("a<=1.5", "a#(..1.5]"),
        ("a >= 1e3", "a#[1000..)"),
        ("a:>5", "a#{5..)"),
        ("a:(>5 AND <10)", "(a#{5..) & a#(..10})"),
        ("a:[* TO 5}", "a#(..5}"),
        ("a:{5 TO *}", "a#{5..)"),
        ("a:[* TO *]", "aexists"),
        ("a:[5 TO x]", "a$[5..x]"),
        ("a>\"5\"", "a${5..)"),
        ("a<B", "a$(..b}"),
        ("a:[-5 TO -1]", "a#[-5..-1]"),
        ("a:[ 1 TO 2 ]", "a#[1..2]"),
        // fields of groups
        ("a:(x OR y z)", "(a=x | (a=y & a=z))"),
        ("a:(x b:y)", "(a=x & b=y)"),
        ("registry.thingTypeName:x", "thingTypeName=x"),
    ] {
        assert_eq!(understood(text), expected, "{text}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (text, message) in [
        ("", "The query is empty at position 0"),
        (" \t", "The query is empty at position 2"),
        ("a AND", "A term is expected at position 5"),
        ("AND a", "A term is expected at position 0"),
        ("a OR OR b", "A term is expected at position 5"),
        ("NOT", "A term is expected at position 3"),
        ("a - b", "A term is expected at position 3"),
        ("()", "A term is expected at position 1"),
        ("(a", "\"(\" is not closed at position 0"),
        ("a)", "\")\" is unexpected at position 1"),
        ("a:", "A value is expected after field \"a\" at position 2"),
        ("a:)", "A value is expected after field \"a\" at position 2"),
        (":a", "\":\" is unexpected at position 0"),
        ("\"a", "\"\"\" is not closed at position 0"),
        ("a\\", "A backslash is followed by nothing at position 2"),
        ("a:[1 TO 2", "\"[\" is not closed at position 2"),
        ("a:[1 2]", "A range is written [low TO high] at position 5"),
        ("a:[1 to 2]", "A range is written [low TO high] at position 5"),
        ("a:[TO 2]", "A term is expected at position 3"),
        ("a:[1 TO]", "A range is written [low TO high] at position 5"),
        ("a:[x* TO y]", "A wildcard is not allowed here at position 3"),
        ("a>x*", "A wildcard is not allowed here at position 2"),
        ("a>*", "A wildcard is not allowed here at position 3"),
        ("a*:x", "A wildcard is not allowed here at position 0"),
        (">5", "A comparison needs a field at position 0"),
        ("[1 TO 2]", "A comparison needs a field at position 0"),
        ("shadow.reported.l:geo_distance,1.0,2.0,10km", "A geoquery is not supported at position 18"),
        ("a:roam~0.8", "A fuzzy search (~) is not supported at position 2"),
        ("a:roam^4", "Boosting (^) is not supported at position 2"),
    ] {
        let error = Query::parse(text, &Limits::STANDARD).expect_err(text);
        assert_eq!(error.to_string(), message, "{text}");
    }
}

#[test]
fn aws_limits_are_kept() {
    let problem = |text: &str| Query::parse(text, &Limits::AWS).map_err(|error| error.problem);
    let terms = |count: usize| vec!["a"; count].join(" ");
    assert_eq!(problem(&terms(12)).unwrap().terms(), 12);
    assert_eq!(problem(&terms(13)), Err(Problem::TooManyTerms(12)));
    assert!(problem(&format!("thingName:{}", "a".repeat(990))).is_ok());
    assert_eq!(problem(&"a".repeat(1_001)), Err(Problem::TooLong(1_000)));
    assert!(problem("thingName:*my").is_ok());
    assert_eq!(problem("thingName:*my AND thingGroupNames:*echo"), Err(Problem::TooManyLeadingWildcards(1)));
    assert_eq!(problem(&format!("a:*x {}", "b".repeat(100))), Err(Problem::LeadingWildcardTooLong(100)));
    assert_eq!(problem(&format!("a:x*{}", "y".repeat(50))), Err(Problem::PatternTooLong(50)));
    assert!(problem(&format!("a:{}*", "y".repeat(500))).is_ok());
    assert!(problem(&format!("{}a{}", "(".repeat(16), ")".repeat(16))).is_ok());
    assert_eq!(problem(&format!("{}a{}", "(".repeat(17), ")".repeat(17))), Err(Problem::TooDeep(16)));
    assert_eq!(problem(&format!("{}a", "NOT ".repeat(17))), Err(Problem::TooDeep(16)));
    assert_eq!(problem(&format!("{}a", "-".repeat(500))), Err(Problem::TooDeep(16)));
}

#[test]
fn no_limit_lets_the_parser_recurse_without_bound() {
    let endless = Limits { query_length: usize::MAX, query_nesting: usize::MAX, ..Limits::STANDARD };
    for text in ["(", "NOT (", "a:(", "-(", "-", "NOT ", "((a)", "a OR (", "[", "a:[", "\""] {
        assert!(Query::parse(&text.repeat(100_000), &endless).is_err(), "{text}");
    }
}

const PARTS: &[&str] = &[
    "(", ")", "[", "]", "{", "}", "\"", "\\", ":", "<", ">", "=", "-", "+", "*", "?", " ", "a", "5", "AND ", "OR ",
    "NOT ", " TO ", "ä", "\0", "~",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,60}") {
        let _ = Query::parse(&text, &Limits::STANDARD);
    }

    #[test]
    fn no_order_of_the_grammars_parts_makes_the_parser_panic(
        parts in proptest::collection::vec(proptest::sample::select(PARTS), 0..40)
    ) {
        let text = parts.concat();
        if let Err(error) = Query::parse(&text, &Limits::STANDARD) {
            prop_assert!(error.position <= text.chars().count(), "{}: {}", text, error);
        }
    }
}
