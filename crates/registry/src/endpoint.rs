//! DescribeEndpoint (AWS IoT API reference): where clients connect to.

use crate::error::ApiError;
use serde_json::json;

/// Types that AWS has; each is this deployment's own host.
const TYPES: [&str; 4] = ["iot:Data", "iot:Data-ATS", "iot:CredentialProvider", "iot:Jobs"];

/// DescribeEndpointResponse. `host` is the one that the request came to, with its port if that is not HTTPS's own.
///
/// # Errors
/// `InvalidRequestException` for a type that AWS does not have.
pub fn describe_response(wanted: Option<&str>, host: &str) -> Result<Vec<u8>, ApiError> {
    if let Some(other) = wanted.filter(|wanted| !TYPES.contains(wanted)) {
        let message = format!("Endpoint type {other} is not recognized; it is one of {}", TYPES.join(", "));
        return Err(ApiError::invalid_request(message));
    }
    Ok(json!({ "endpointAddress": host }).to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_is_the_deployments_own_host() {
        for wanted in [None, Some("iot:Data-ATS"), Some("iot:Jobs"), Some("iot:CredentialProvider")] {
            assert_eq!(describe_response(wanted, "umbra.example").unwrap(), br#"{"endpointAddress":"umbra.example"}"#);
        }
        assert_eq!(describe_response(Some("iot:Other"), "h").unwrap_err().name(), "InvalidRequestException");
    }
}
