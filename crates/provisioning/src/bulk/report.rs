//! The files that ListThingRegistrationTaskReports links to: a JSON object on each line.
//!
//! AWS documents their names and not what is in them. Members of a result are as AWS's own script reads them
//! (`bulk-result.py` of aws-iot-device-management-workshop): in capitals, unlike RegisterThing's.

use super::lines::Cursor;
use serde::Serialize;
use std::collections::BTreeMap;

/// `ReportType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportType {
    /// `ERRORS`: the lines of which nothing came.
    Errors,
    /// `RESULTS`: the others.
    Results,
}

impl ReportType {
    /// AWS's spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Errors => "ERRORS",
            Self::Results => "RESULTS",
        }
    }

    /// Reads AWS's spelling.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Errors, Self::Results].into_iter().find(|report| report.as_str() == text)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReportLine<R> {
    line_number: u64,
    offset: u64,
    response: R,
}

/// A line of the report RESULTS, with its end. `resource_arns` are by the names of the resources in the template.
#[must_use]
pub fn result_line(line: Cursor, certificate_pem: Option<&str>, resource_arns: &BTreeMap<String, String>) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Response<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        certificate_pem: Option<&'a str>,
        resource_arns: &'a BTreeMap<String, String>,
    }
    write(line, Response { certificate_pem, resource_arns })
}

/// A line of the report ERRORS, with its end. `code` is the name of an exception.
#[must_use]
pub fn error_line(line: Cursor, code: &str, message: &str) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Response<'a> {
        error_code: &'a str,
        message: &'a str,
    }
    write(line, Response { error_code: code, message })
}

fn write<R: Serialize>(line: Cursor, response: R) -> String {
    let line = ReportLine { line_number: line.line, offset: line.offset, response };
    // Does not fail: all keys are strings.
    let mut text = serde_json::to_string(&line).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_one_object_on_each_line() {
        let line = Cursor { offset: 58, line: 2 };
        let arns = BTreeMap::from([("thing".to_owned(), "arn:aws:iot:us-east-1:123456789012:thing/bar".to_owned())]);
        assert_eq!(
            result_line(line, Some("-----BEGIN\nEND"), &arns),
            concat!(
                r#"{"lineNumber":2,"offset":58,"response":{"CertificatePem":"-----BEGIN\nEND","#,
                r#""ResourceArns":{"thing":"arn:aws:iot:us-east-1:123456789012:thing/bar"}}}"#,
                "\n"
            )
        );
        assert_eq!(
            result_line(line, None, &BTreeMap::new()),
            "{\"lineNumber\":2,\"offset\":58,\"response\":{\"ResourceArns\":{}}}\n"
        );
        assert_eq!(
            error_line(line, "InvalidRequestException", "Parameter CSR\nis missing"),
            concat!(
                r#"{"lineNumber":2,"offset":58,"response":{"errorCode":"InvalidRequestException","#,
                r#""message":"Parameter CSR\nis missing"}}"#,
                "\n"
            )
        );
    }

    #[test]
    fn reports_are_named_as_in_the_service_model() {
        for (text, expected) in
            [("ERRORS", Some(ReportType::Errors)), ("RESULTS", Some(ReportType::Results)), ("errors", None), ("", None)]
        {
            assert_eq!(ReportType::parse(text), expected);
            assert!(expected.is_none_or(|report| report.as_str() == text));
        }
    }
}
