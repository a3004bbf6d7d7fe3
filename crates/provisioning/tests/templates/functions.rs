//! `Ref` and the intrinsic functions.

use crate::*;

/// A template whose device configuration is one expression.
fn with_expression(expression: &Value) -> Value {
    json!({
        "Parameters": {
            "A": {"Type": "String"}, "B": {"Type": "String", "Default": "b"}, "N": {"Type": "String", "Default": "1"}
        },
        "Mappings": {"M": {"k": {"text": "found", "list": ["x", "y"], "b": "by parameter"}}},
        "Resources": {"certificate": {
            "Type": "AWS::IoT::Certificate",
            "Properties": {"CertificateId": {"Ref": "AWS::IoT::Certificate::Id"}}
        }},
        "DeviceConfiguration": {"value": expression}
    })
}

#[test]
fn every_function_makes_what_it_is_documented_to() {
    for (expression, expected) in [
        (json!("literal ${A}"), "literal ${A}"),
        (json!({"Ref": "A"}), "a"),
        (json!({"Ref": "B"}), "b"),
        (json!({"Ref": "AWS::IoT::Certificate::Id"}), ID),
        (json!({"Fn::Join": ["-", ["x", {"Ref": "A"}, "z"]]}), "x-a-z"),
        (json!({"Fn::Join": ["", ["x", "y"]]}), "xy"),
        (json!({"Fn::Join": ["-", []]}), ""),
        (json!({"Fn::Join": ["-", [{"Fn::Join": ["+", ["1", "2"]]}, "3"]]}), "1+2-3"),
        (json!({"Fn::Join": ["+", {"Fn::Split": [",", "1,2,3"]}]}), "1+2+3"),
        (json!({"Fn::Join": ["+", {"Fn::FindInMap": ["M", "k", "list"]}]}), "x+y"),
        (json!({"Fn::Select": ["1", ["x", "y"]]}), "y"),
        (json!({"Fn::Select": [0, ["x", "y"]]}), "x"),
        (json!({"Fn::Select": [{"Ref": "N"}, {"Fn::Split": ["/", "x/y/z"]}]}), "y"),
        (json!({"Fn::Select": [2, {"Fn::Split": [",", {"Fn::Sub": "1,2,${A}"}]}]}), "a"),
        (json!({"Fn::Select": [1, {"Fn::Split": ["--", ",--"]}]}), ""),
        (json!({"Fn::FindInMap": ["M", "k", "text"]}), "found"),
        (json!({"Fn::FindInMap": ["M", "k", {"Ref": "B"}]}), "by parameter"),
        (json!({"Fn::Select": [1, {"Fn::FindInMap": ["M", "k", "list"]}]}), "y"),
        (json!({"Fn::Sub": "${A}/${B}/${!C}/$"}), "a/b/${C}/$"),
        (json!({"Fn::Sub": ["${A}${x}${x}", {"x": {"Fn::Join": ["", ["${", "B", "}"]]}}]}), "a${B}${B}"),
        (json!({"Fn::Sub": ["${A}", {"A": "hides the parameter"}]}), "hides the parameter"),
        (json!({"Fn::Sub": "cert ${AWS::IoT::Certificate::Id}"}), &format!("cert {ID}")),
    ] {
        let plan = run(&with_expression(&expression), FLEET, &[("A", "a"), ("AWS::IoT::Certificate::Id", ID)]);
        assert_eq!(plan.unwrap().device_configuration["value"], expected, "{expression}");
    }
}

#[test]
fn an_expression_that_can_never_be_right_is_refused_with_its_place() {
    for (expression, reason) in [
        (json!(1), "value: must be a string or a function that makes one"),
        (json!(null), "value: must be a string or a function"),
        (json!(["a"]), "value: must be a string or a function"),
        (json!({}), "value: must be a string or a function"),
        (json!({"nested": "x"}), "value.nested: no function; known are Ref, Fn::Join"),
        (json!({"Fn::GetAtt": ["a", "b"]}), "value.Fn::GetAtt: no function"),
        (json!({"Ref": "A", "Fn::Sub": "x"}), "value: must be a string or a function"),
        (json!({"Ref": 1}), "value.Ref: must be a parameter's name"),
        (json!({"Ref": "C"}), "value.Ref: refers to C, which Parameters does not declare"),
        (json!({"Ref": "AWS::IoT::Certificate::Country"}), "does not declare"),
        (json!({"Fn::Join": "x"}), "value.Fn::Join: must be a list of 2: a delimiter and a list"),
        (json!({"Fn::Join": ["x"]}), "must be a list of 2"),
        (json!({"Fn::Join": ["", [], 1]}), "must be a list of 2"),
        (json!({"Fn::Join": [1, []]}), "value.Fn::Join.0: the delimiter must be a string"),
        (json!({"Fn::Join": ["", "x"]}), "value.Fn::Join.1: must be a list or a function"),
        (json!({"Fn::Join": ["", [["x"]]]}), "value.Fn::Join.1.0: must be a string"),
        (json!({"Fn::Join": ["", {"Ref": "A"}]}), "value.Fn::Join.1.Ref: makes text, and here has to be a list"),
        (json!({"Fn::Join": ["", {"Fn::Unknown": []}]}), "no function"),
        (json!({"Fn::Join": ["", ["x", {"Fn::Split": [",", "x"]}]]}), "makes a list, and here has to be text"),
        (json!({"Fn::Split": [",", "x"]}), "value.Fn::Split: makes a list"),
        (json!({"Fn::Select": [0, {"Fn::Split": ["", "x"]}]}), "the delimiter must be a string, and not empty"),
        (json!({"Fn::Select": [0, {"Fn::Split": [",", ["x"]]}]}), "Fn::Split.1: must be a string"),
        (json!({"Fn::Select": [0]}), "must be a list of 2: an index and a list"),
        (json!({"Fn::Select": ["x", ["a"]]}), "value.Fn::Select.0: must be a whole number from 0"),
        (json!({"Fn::Select": [-1, ["a"]]}), "value.Fn::Select.0: must be a string"),
        (json!({"Fn::Select": [1.5, ["a"]]}), "value.Fn::Select.0: must be a string"),
        (json!({"Fn::Select": [1, ["a"]]}), "value.Fn::Select.0: there is no item 1 in a list of 1"),
        (json!({"Fn::FindInMap": ["M", "k"]}), "must be a list of 3: a map and two keys"),
        (json!({"Fn::FindInMap": ["m", "k", "text"]}), "value.Fn::FindInMap: Mappings has no map m"),
        (json!({"Fn::FindInMap": ["M", "K", "text"]}), "Mappings.M has no key K"),
        (json!({"Fn::FindInMap": ["M", "k", "t"]}), "Mappings.M.k has no key t"),
        (json!({"Fn::Sub": 1}), "value.Fn::Sub: must be a string, or a list of text and variables"),
        (json!({"Fn::Sub": ["x"]}), "must be a list of 2: text and variables"),
        (json!({"Fn::Sub": [1, {}]}), "value.Fn::Sub.0: must be a string"),
        (json!({"Fn::Sub": ["x", []]}), "value.Fn::Sub.1: must be an object"),
        (json!({"Fn::Sub": ["x", {"v": 1}]}), "value.Fn::Sub.1.v: must be a string"),
        (json!({"Fn::Sub": "${C}"}), "value.Fn::Sub: refers to C"),
        (json!({"Fn::Sub": "${iot:Connection.Thing.ThingName}"}), "refers to iot:Connection.Thing.ThingName"),
        (json!({"Fn::Sub": "${A"}), "a ${ is not closed"),
        (json!({"Fn::Sub": "${A B}"}), "a name in ${} has letters"),
    ] {
        let message = refused(&with_expression(&expression), FLEET);
        assert!(message.starts_with("Invalid provisioning template: DeviceConfiguration.value"), "{message}");
        assert!(message.contains(reason), "{expression}: {message}");
    }
}

#[test]
fn an_expression_that_is_wrong_with_these_parameters_fails_with_its_place() {
    let path = || "DeviceConfiguration.value".to_owned();
    for (expression, a, expected) in [
        (json!({"Fn::Select": [{"Ref": "A"}, ["x"]]}), "one", EvaluationError::Index { path: path() }),
        (
            json!({"Fn::Select": [{"Ref": "A"}, ["x"]]}),
            "1",
            EvaluationError::OutOfBounds { path: path(), index: 1, count: 1 },
        ),
        (
            json!({"Fn::Select": [3, {"Fn::Split": [",", {"Ref": "A"}]}]}),
            "x,y",
            EvaluationError::OutOfBounds { path: path(), index: 3, count: 2 },
        ),
        (json!({"Fn::FindInMap": [{"Ref": "A"}, "k", "text"]}), "m", EvaluationError::NotInMap { path: path() }),
        (json!({"Fn::FindInMap": ["M", {"Ref": "A"}, "text"]}), "K", EvaluationError::NotInMap { path: path() }),
        (json!({"Fn::FindInMap": ["M", "k", {"Ref": "A"}]}), "t", EvaluationError::NotInMap { path: path() }),
        (
            json!({"Fn::FindInMap": ["M", "k", {"Ref": "A"}]}),
            "list",
            EvaluationError::WrongKind { path: path(), found: "a list" },
        ),
        (
            json!({"Fn::Join": ["", {"Fn::FindInMap": ["M", "k", {"Ref": "A"}]}]}),
            "text",
            EvaluationError::WrongKind { path: path(), found: "text, and a list is needed" },
        ),
        (
            json!({"Fn::Sub": "${A}".repeat(100)}),
            &"x".repeat(4_096),
            EvaluationError::OutputTooLarge { maximum: 65_536 },
        ),
    ] {
        let outcome = run(&with_expression(&expression), FLEET, &[("A", a), ("AWS::IoT::Certificate::Id", ID)]);
        assert_eq!(outcome, Err(expected), "{expression}");
    }
}

#[test]
fn a_small_template_does_not_make_large_text() {
    // Each level is twice as long as the one inside.
    let mut expression = json!({"Ref": "A"});
    for _ in 0..9 {
        expression = json!({"Fn::Sub": ["${x}${x}", {"x": expression}]});
    }
    let parameters = [("A", &*"x".repeat(4_096)), ("AWS::IoT::Certificate::Id", ID)];
    let outcome = run(&with_expression(&expression), FLEET, &parameters);
    assert_eq!(outcome, Err(EvaluationError::OutputTooLarge { maximum: 65_536 }));
    let split = json!({"Fn::Select": [0, {"Fn::Split": [",", {"Ref": "A"}]}]});
    let parameters = [("A", &*",".repeat(4_096)), ("AWS::IoT::Certificate::Id", ID)];
    let outcome = run(&with_expression(&split), FLEET, &parameters);
    assert_eq!(outcome, Err(EvaluationError::OutputTooLarge { maximum: 65_536 }));
}

#[test]
fn parameters_are_few_and_short() {
    let template = parse(&with_expression(&json!({"Ref": "A"})), FLEET);
    let mut parameters = map(&[("A", &"ä".repeat(4_096)), ("AWS::IoT::Certificate::Id", ID)]);
    assert!(evaluate(&template, &parameters).is_ok());
    parameters.insert("A".to_owned(), "ä".repeat(4_097));
    let too_long = EvaluationError::ParameterTooLong { name: "A".to_owned(), maximum: 4_096 };
    assert_eq!(evaluate(&template, &parameters), Err(too_long));
    parameters.insert("A".to_owned(), "a".to_owned());
    parameters.insert("n".repeat(2_049), String::new());
    let too_long = EvaluationError::ParameterTooLong { name: "n".repeat(64), maximum: 2_048 };
    assert_eq!(evaluate(&template, &parameters), Err(too_long));
    let mut enough: BTreeMap<String, String> = (0..254).map(|n| (n.to_string(), String::new())).collect();
    enough.extend(map(&[("A", "a"), ("AWS::IoT::Certificate::Id", ID)]));
    assert!(evaluate(&template, &enough).is_ok());
    let many = (0..257).map(|n| (n.to_string(), String::new())).collect();
    assert_eq!(evaluate(&template, &many), Err(EvaluationError::TooManyParameters { maximum: 256 }));
}

#[test]
fn everything_that_is_made_on_the_way_is_counted() {
    // The identifier of the certificate is 64 bytes, an item of a list 32 besides its text.
    for (expression, bytes) in [
        (json!("abc"), 3),
        (json!({"Ref": "A"}), 3),
        (json!({"Fn::Join": ["--", ["ab", "c"]]}), 2 * 32 + 3 + 2 + 5),
        (json!({"Fn::Join": ["", {"Fn::FindInMap": ["M", "k", "list"]}]}), 1 + 1 + 4 + 2 * 32 + 2 + 2),
        (json!({"Fn::Sub": "${A}x"}), 4 + 4),
        (json!({"Fn::Sub": ["${v}${v}", {"v": "ab"}]}), 2 + 4 + 4),
        (json!({"Fn::Select": [1, {"Fn::Split": [",", "a,bc"]}]}), 1 + 4 + 2 * 32 + 4 + 2),
        (json!({"Fn::FindInMap": ["M", "k", "text"]}), 1 + 1 + 4 + 5),
    ] {
        for (output_bytes, is_enough) in [(64 + bytes, true), (64 + bytes - 1, false)] {
            let limits = Limits { output_bytes, ..Limits::STANDARD };
            let template = Template::parse(&with_expression(&expression).to_string(), FLEET, &limits).unwrap();
            let outcome = evaluate(&template, &map(&[("A", "abc"), ("AWS::IoT::Certificate::Id", ID)]));
            assert_eq!(outcome.is_ok(), is_enough, "{expression} {output_bytes}: {outcome:?}");
        }
    }
    let document = json!({"p": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyDocument": {"a": ["x", 1]}}}});
    for (output_bytes, is_enough) in [(64 + 4 * 32 + 1, true), (64 + 4 * 32, false)] {
        let limits = Limits { output_bytes, ..Limits::STANDARD };
        let template = Template::parse(&with(&json!({}), &document).to_string(), FLEET, &limits).unwrap();
        assert_eq!(evaluate(&template, &map(&[("AWS::IoT::Certificate::Id", ID)])).is_ok(), is_enough);
    }
}
