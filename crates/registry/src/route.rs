//! From method and path to an operation and its path parameters.

use crate::error::ApiError;
use crate::operation::{Operation, Plane};
use percent_encoding::percent_decode_str;
use service_model::Input;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// An operation and what its path says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteMatch {
    /// Which operation.
    pub operation: Operation,
    parameters: Vec<(&'static str, String)>,
}

impl RouteMatch {
    /// The value of a path parameter, percent-decoded. Empty when the operation has none of that name, which then
    /// fails the length check of whatever name it stands for.
    #[must_use]
    pub fn parameter(&self, name: &str) -> &str {
        self.parameters.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value.as_str())
    }

    /// The request's members, checked against the service model.
    ///
    /// # Errors
    /// `SerializationException`; `InvalidRequestException` or, where the model has that, `ValidationException`.
    pub fn read(&self, query: &str, headers: &[(String, String)], body: &[u8]) -> Result<Input, ApiError> {
        let Some(row) = self.operation.row() else { return Ok(Input::new()) };
        let request = service_model::Request { path_parameters: &self.parameters, query, headers, body };
        self.operation.plane().model().read(row, &request).map_err(|problem| ApiError::of_problem(problem, row))
    }
}

/// Why a request is no operation. Always the client's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// A path parameter is not UTF-8 once decoded.
    #[error("the path is not valid UTF-8 after percent-decoding")]
    Encoding,
    /// Operations have this path, none with this method.
    #[error("the path does not support this method")]
    MethodNotAllowed,
    /// No operation has this path.
    #[error("no operation has this path")]
    NotFound,
    /// AWS has this operation, and it is not built.
    #[error("{0} is not built")]
    NotBuilt(&'static str),
}

impl From<RouteError> for ApiError {
    fn from(error: RouteError) -> Self {
        match error {
            RouteError::Encoding => Self::invalid_request("The path is not valid UTF-8 after percent-decoding"),
            RouteError::MethodNotAllowed => Self::method_not_allowed(),
            RouteError::NotFound => Self::unknown_operation(),
            RouteError::NotBuilt(name) => Self::not_implemented(name),
        }
    }
}

/// Finds the operation that `method` and `path` name.
///
/// `path` is as it was on the request line, still percent-encoded and without the query: an encoded slash belongs to
/// its segment. `plane` comes from the service name of the request's signature; without one (client certificate,
/// custom authorizer) the planes that devices use are tried first.
///
/// # Errors
/// [`RouteError`], which becomes an [`ApiError`].
pub fn route(plane: Option<Plane>, method: &str, path: &str) -> Result<RouteMatch, RouteError> {
    let mut error = RouteError::NotFound;
    // Some clients leave out the slash at the end that the service model has.
    let with_slash = if path.ends_with('/') { path.to_owned() } else { format!("{path}/") };
    for tried in Plane::ALL.into_iter().filter(|tried| plane.is_none_or(|plane| plane == *tried)) {
        let Some(router) = ROUTERS.get(&tried) else { continue };
        let Ok(found) = router.at(path).or_else(|_| router.at(&with_slash)) else { continue };
        let Some(row) = found.value.iter().find(|row| row.method == method) else {
            if error == RouteError::NotFound {
                error = RouteError::MethodNotAllowed;
            }
            continue;
        };
        let Some(operation) = Operation::built(tried, row.name) else {
            error = RouteError::NotBuilt(row.name);
            continue;
        };
        let values = found.params.iter().map(|(_, value)| {
            percent_decode_str(value).decode_utf8().map(String::from).map_err(|_| RouteError::Encoding)
        });
        let parameters = placeholders(row.uri_template)
            .zip(values)
            .map(|(name, value)| Ok((name.trim_end_matches('+'), value?)))
            .collect::<Result<_, RouteError>>()?;
        return Ok(RouteMatch { operation, parameters });
    }
    Err(error)
}

type Router = matchit::Router<Vec<&'static service_model::Operation>>;

static ROUTERS: LazyLock<BTreeMap<Plane, Router>> = LazyLock::new(|| {
    let mut by_path: BTreeMap<(Plane, String), Vec<&'static service_model::Operation>> = BTreeMap::new();
    for plane in Plane::ALL {
        for row in plane.model().operations() {
            by_path.entry((plane, pattern(row.uri_template))).or_default().push(row);
        }
    }
    let mut routers: BTreeMap<Plane, Router> = BTreeMap::new();
    for ((plane, path), rows) in by_path {
        // Fails only for a table that contradicts itself, and then `every_operation_is_reached_by_its_own_path` fails.
        let inserted = routers.entry(plane).or_default().insert(path, rows);
        debug_assert!(inserted.is_ok(), "{inserted:?}");
    }
    routers
});

/// The template with its placeholders numbered: operations on one path may name them differently.
fn pattern(uri_template: &str) -> String {
    let mut pattern = uri_template.to_owned();
    for (n, name) in placeholders(uri_template).enumerate() {
        let star = if name.ends_with('+') { "*" } else { "" };
        pattern = pattern.replacen(&format!("{{{name}}}"), &format!("{{{star}p{n}}}"), 1);
    }
    pattern
}

fn placeholders(uri_template: &str) -> impl Iterator<Item = &str> {
    uri_template.split('{').skip(1).filter_map(|rest| rest.split_once('}').map(|(name, _)| name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_reached_by_its_own_path() {
        for plane in Plane::ALL {
            for row in plane.model().operations() {
                let path = row.uri_template.replace(['{', '}', '+'], "");
                let found = route(Some(plane), row.method, &path);
                let Some(operation) = Operation::built(plane, row.name) else {
                    assert_eq!(found, Err(RouteError::NotBuilt(row.name)));
                    continue;
                };
                let found = found.unwrap();
                assert_eq!(found.operation, operation);
                for name in placeholders(row.uri_template) {
                    let name = name.trim_end_matches('+');
                    assert_eq!(found.parameter(name), name, "{}", row.name);
                }
            }
        }
    }

    #[test]
    fn requests_find_their_operation() {
        use Operation::*;
        use Plane::*;
        use RouteError::*;
        type Row = (Option<Plane>, &'static str, &'static str, Result<(Operation, &'static str), RouteError>);
        let rows: &[Row] = &[
            (Some(Iot), "POST", "/things/lamp", Ok((CreateThing, "lamp"))),
            (Some(Iot), "GET", "/things/a%3Ab", Ok((DescribeThing, "a:b"))),
            (Some(Iot), "GET", "/things/a:b", Ok((DescribeThing, "a:b"))),
            (Some(Iot), "GET", "/things/a%2Fb", Ok((DescribeThing, "a/b"))),
            (Some(Iot), "GET", "/things/a+b", Ok((DescribeThing, "a+b"))),
            (Some(Iot), "GET", "/things/%zz", Ok((DescribeThing, "%zz"))),
            (Some(Iot), "GET", "/things/%ff", Err(Encoding)),
            (Some(Iot), "GET", "/things", Ok((ListThings, ""))),
            (Some(Iot), "GET", "/things/", Err(NotFound)),
            (Some(Iot), "PUT", "/things/lamp", Err(MethodNotAllowed)),
            (Some(Iot), "post", "/things/lamp", Err(MethodNotAllowed)),
            (Some(Iot), "HEAD", "/things/lamp", Err(MethodNotAllowed)),
            (Some(Iot), "HEAD", "/nothing", Err(NotFound)),
            (Some(Iot), "GET", "", Err(NotFound)),
            (Some(Iot), "GET", "/things/lamp/shadow", Err(NotFound)),
            (Some(IotData), "GET", "/things/lamp", Err(NotFound)),
            (Some(IotData), "GET", "/things/lamp/shadow", Ok((GetThingShadow, "lamp"))),
            (Some(IotData), "POST", "/topics/a/b", Ok((Publish, "a/b"))),
            (Some(IotData), "POST", "/topics/a%2Fb%2F%24c", Ok((Publish, "a/b/$c"))),
            (Some(IotData), "POST", "/topics//a", Ok((Publish, "/a"))),
            (Some(IotData), "POST", "/topics/", Err(NotFound)),
            (Some(IotData), "GET", "/topics/a/b", Err(MethodNotAllowed)),
            (Some(IotData), "GET", "/retainedMessage", Ok((ListRetainedMessages, ""))),
            (Some(IotData), "GET", "/retainedMessage/a/b", Ok((GetRetainedMessage, "a/b"))),
            (Some(IotData), "GET", "/retainedMessage/%2Fa%2Fb", Ok((GetRetainedMessage, "/a/b"))),
            (Some(IotData), "GET", "/retainedMessage/", Err(NotFound)),
            (Some(IotData), "GET", "/connections/a%2Fb", Ok((GetConnection, "a/b"))),
            (Some(IotData), "DELETE", "/connections/a%2Fsubscriptions", Ok((DeleteConnection, "a/subscriptions"))),
            (Some(IotData), "GET", "/connections/a/subscriptions", Ok((ListSubscriptions, "a"))),
            (Some(IotData), "POST", "/connections/a/messages", Ok((SendDirectMessage, "a"))),
            (Some(IotData), "POST", "/connections/a", Err(MethodNotAllowed)),
            (Some(IotData), "GET", "/connections", Err(NotFound)),
            (Some(Iot), "GET", "/connections/a", Err(NotFound)),
            (None, "DELETE", "/things/lamp/shadow", Ok((DeleteThingShadow, "lamp"))),
            (None, "DELETE", "/things/lamp", Ok((DeleteThing, "lamp"))),
            (None, "PUT", "/things/lamp/shadow", Err(MethodNotAllowed)),
            (Some(Iot), "PUT", "/jobs/j-1", Ok((CreateJob, "j-1"))),
            (Some(Iot), "POST", "/rules/r_1", Ok((CreateTopicRule, "r_1"))),
            (Some(Iot), "GET", "/authorizers/", Ok((ListAuthorizers, ""))),
            (Some(Iot), "GET", "/authorizers", Ok((ListAuthorizers, ""))),
        ];
        for (plane, method, path, expected) in rows {
            let found = route(*plane, method, path).map(|found| {
                let value = found.parameters.first().map_or(String::new(), |(_, value)| value.clone());
                (found.operation, value)
            });
            let expected = expected.map(|(operation, value)| (operation, value.to_owned()));
            assert_eq!(found, expected, "{method} {path}");
        }
    }

    #[test]
    fn placeholders_are_numbered_so_that_names_cannot_clash() {
        assert_eq!(pattern("/a/{b}/c/{d+}"), "/a/{p0}/c/{*p1}");
        assert_eq!(pattern("/a"), "/a");
    }

    #[test]
    fn route_errors_have_the_status_of_http() {
        let status = |error| ApiError::from(error).status();
        assert_eq!(status(RouteError::Encoding), 400);
        assert_eq!(status(RouteError::MethodNotAllowed), 405);
        assert_eq!(status(RouteError::NotFound), 404);
        assert_eq!(status(RouteError::NotBuilt("CreateStream")), 501);
    }

    proptest::proptest! {
        #[test]
        fn no_path_breaks_the_router(path in "\\PC{0,40}", bytes in "[/%a-f0-9{}*$]{0,40}") {
            for plane in [None, Some(Plane::Iot), Some(Plane::IotData), Some(Plane::IotJobsData)] {
                let _ = route(plane, "GET", &path);
                let _ = route(plane, "POST", &bytes);
            }
        }
    }
}
