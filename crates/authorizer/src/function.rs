//! Which function an authorizer has.

use core::fmt;
use url::{Host, Url};

/// Longest `authorizerFunctionArn`, in characters (AWS API, `AuthorizerFunctionArn`).
pub const MAXIMUM_FUNCTION_CHARACTERS: usize = 2_048;

/// Longest name of a Lambda function or of a binding (AWS Lambda API, `FunctionName`).
const MAXIMUM_NAME_CHARACTERS: usize = 64;

/// Where the function of an authorizer is: `authorizerFunctionArn`, which in AWS is always a Lambda function's ARN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthorizerFunction {
    /// `https://…`: a web server that events are posted to.
    Webhook(Webhook),
    /// `service:NAME`: the Worker behind this service binding.
    Service(String),
    /// A Lambda function's ARN. The Worker behind the service binding with the function's name stands for it.
    Lambda {
        /// As it was given.
        arn: String,
        /// `NAME` in `arn:aws:lambda:REGION:ACCOUNT:function:NAME[:QUALIFIER]`.
        name: String,
    },
}

/// The address of a web server, known to be one that events may be posted to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    text: String,
    url: Url,
}

impl Webhook {
    /// The address as `fetch` understands it: a host that is written strangely is written plainly here.
    #[must_use]
    pub fn url(&self) -> &str {
        self.url.as_str()
    }
}

/// Why a text names no function. Fit for the client that sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FunctionError {
    /// None of the three forms.
    #[error(
        "authorizerFunctionArn must be the ARN of a Lambda function, service: and the name of a service binding, or an \
         https URL"
    )]
    Form,
    /// [`MAXIMUM_FUNCTION_CHARACTERS`].
    #[error("authorizerFunctionArn must have at most {MAXIMUM_FUNCTION_CHARACTERS} characters")]
    Length,
    /// A name that no binding can have.
    #[error("The name of the authorizer's function must have 1 to {MAXIMUM_NAME_CHARACTERS} letters, digits, - and _")]
    Name,
    /// The URL can't be read, or has a part that a request can't have.
    #[error("The authorizer's URL must have a host, and neither a user name nor a password nor a fragment")]
    Url,
    /// Not encrypted, which is refused but for a function on the developer's own machine.
    #[error("The authorizer's URL must begin with https://")]
    NotEncrypted,
    /// An address that only the platform's own network or machine could reach.
    #[error("The authorizer's URL must have a public host")]
    PrivateHost,
}

impl AuthorizerFunction {
    /// Reads `authorizerFunctionArn`. `is_local`: whether the deployment runs on a developer's own machine, where
    /// functions may be on this machine and its network, and those on this machine (`localhost` and its addresses) need
    /// not be encrypted.
    ///
    /// A public name that resolves to a private address can't be told apart here.
    ///
    /// # Errors
    /// [`FunctionError`].
    pub fn parse(text: &str, is_local: bool) -> Result<Self, FunctionError> {
        if text.chars().nth(MAXIMUM_FUNCTION_CHARACTERS).is_some() {
            return Err(FunctionError::Length);
        }
        if let Some(name) = text.strip_prefix("service:") {
            return Ok(Self::Service(binding_name(name)?));
        }
        if text.starts_with("arn:") {
            let name = lambda_name(text).ok_or(FunctionError::Form)?;
            return Ok(Self::Lambda { arn: text.to_owned(), name: binding_name(name)? });
        }
        webhook(text, is_local).map(Self::Webhook)
    }
}

/// As it was given: what DescribeAuthorizer tells.
impl fmt::Display for AuthorizerFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Webhook(webhook) => f.write_str(&webhook.text),
            Self::Service(name) => write!(f, "service:{name}"),
            Self::Lambda { arn, .. } => f.write_str(arn),
        }
    }
}

/// `arn:PARTITION:lambda:REGION:ACCOUNT:function:NAME[:QUALIFIER]`. Region and account are whatever tools carry around.
fn lambda_name(arn: &str) -> Option<&str> {
    let mut parts = arn.split(':');
    let (_arn, partition, service) = (parts.next()?, parts.next()?, parts.next()?);
    let (_region, _account, kind) = (parts.next()?, parts.next()?, parts.next()?);
    let (name, qualifier, rest) = (parts.next()?, parts.next(), parts.next());
    let is_lambda = partition.starts_with("aws") && service == "lambda" && kind == "function";
    (is_lambda && qualifier != Some("") && rest.is_none()).then_some(name)
}

fn binding_name(name: &str) -> Result<String, FunctionError> {
    let is_name = (1..=MAXIMUM_NAME_CHARACTERS).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    is_name.then(|| name.to_owned()).ok_or(FunctionError::Name)
}

fn webhook(text: &str, is_local: bool) -> Result<Webhook, FunctionError> {
    // The parser would drop what is no graphic character, and the text that is told back would be another address.
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(FunctionError::Form);
    }
    // As `fetch` reads it: `https://2130706433/` is `https://127.0.0.1/`.
    let url = Url::parse(text).map_err(|_| FunctionError::Form)?;
    let is_encrypted = match url.scheme() {
        "https" => true,
        "http" => false,
        _ => return Err(FunctionError::Form),
    };
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(FunctionError::Url);
    }
    let place = Place::of(&url.host().ok_or(FunctionError::Url)?);
    match (place, is_encrypted) {
        (Place::ThisMachine, _) if is_local => {}
        (_, false) => return Err(FunctionError::NotEncrypted),
        (Place::Private, true) if is_local => {}
        (Place::ThisMachine | Place::Private, true) => return Err(FunctionError::PrivateHost),
        (Place::Public, true) => {}
    }
    Ok(Webhook { text: text.to_owned(), url })
}

/// Who can reach a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    ThisMachine,
    Private,
    Public,
}

impl Place {
    fn of(host: &Host<&str>) -> Self {
        match host {
            Host::Domain(name) => Self::of_name(name.trim_end_matches('.')),
            Host::Ipv4(address) => Self::of_ipv4(*address),
            Host::Ipv6(address) => Self::of_ipv6(*address),
        }
    }

    /// The parser has brought it to lower case. A name without a point is one of a private network, and so are those that
    /// RFC 6762 and ICANN (2024, `.internal`) reserve.
    fn of_name(name: &str) -> Self {
        let last = name.rsplit('.').next();
        if last == Some("localhost") {
            Self::ThisMachine
        } else if !name.contains('.') || matches!(last, Some("local" | "internal" | "home" | "lan" | "arpa")) {
            Self::Private
        } else {
            Self::Public
        }
    }

    /// The blocks of IANA's registry of special-purpose addresses that are not globally reachable (RFC 6890).
    fn of_ipv4(address: core::net::Ipv4Addr) -> Self {
        match address.octets() {
            [127, ..] => Self::ThisMachine,
            [0 | 10 | 224..=255, ..]
            | [100, 64..=127, ..]
            | [169, 254, ..]
            | [172, 16..=31, ..]
            | [192, 0, 0 | 2, _]
            | [192, 168, ..]
            | [198, 18..=19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _] => Self::Private,
            _ => Self::Public,
        }
    }

    fn of_ipv6(address: core::net::Ipv6Addr) -> Self {
        if address.is_loopback() {
            return Self::ThisMachine;
        }
        if let Some(address) = address.to_ipv4_mapped() {
            return Self::of_ipv4(address);
        }
        let embedded = |high: u16, low: u16| {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            Self::of_ipv4(core::net::Ipv4Addr::new(a, b, c, d))
        };
        match address.segments() {
            // Addresses of IPv4 in those of NAT64 and 6to4 (RFC 6052, RFC 3056).
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => embedded(high, low),
            // Teredo and documentation; the rest of 2000::/3 is all that is globally reachable.
            [0x2001, 0 | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Self::Private,
            [0x2000..=0x3fff, ..] => Self::Public,
            _ => Self::Private,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str, is_local: bool) -> Result<String, FunctionError> {
        AuthorizerFunction::parse(text, is_local).map(|function| {
            assert_eq!(function.to_string(), text, "it is told back as it was given");
            match function {
                AuthorizerFunction::Webhook(webhook) => webhook.url().to_owned(),
                AuthorizerFunction::Service(name) => format!("service {name}"),
                AuthorizerFunction::Lambda { name, .. } => format!("lambda {name}"),
            }
        })
    }

    #[test]
    fn a_function_is_a_lambda_arn_a_service_binding_or_a_url() {
        for (text, expected) in [
            ("arn:aws:lambda:us-east-1:123456789012:function:my-Auth_1", Ok("lambda my-Auth_1")),
            ("arn:aws:lambda:us-east-1:123456789012:function:auth:PROD", Ok("lambda auth")),
            ("arn:aws:lambda:us-east-1:123456789012:function:auth:$LATEST", Ok("lambda auth")),
            ("arn:aws-cn:lambda:cn-north-1:123456789012:function:auth", Ok("lambda auth")),
            ("arn:aws:lambda:us-east-1:123456789012:function:", Err(FunctionError::Name)),
            ("arn:aws:lambda:us-east-1:123456789012:function:a b", Err(FunctionError::Name)),
            ("arn:aws:lambda:us-east-1:123456789012:function:auth:", Err(FunctionError::Form)),
            ("arn:aws:lambda:us-east-1:123456789012:function:auth:1:2", Err(FunctionError::Form)),
            ("arn:aws:lambda:us-east-1:123456789012:function", Err(FunctionError::Form)),
            ("arn:aws:lambda:us-east-1:123456789012:layer:auth", Err(FunctionError::Form)),
            ("arn:aws:iot:us-east-1:123456789012:function:auth", Err(FunctionError::Form)),
            ("arn:x:lambda:us-east-1:123456789012:function:auth", Err(FunctionError::Form)),
            ("service:AUTH", Ok("service AUTH")),
            ("service:", Err(FunctionError::Name)),
            ("service:a.b", Err(FunctionError::Name)),
            ("service:__proto__", Ok("service __proto__")),
            ("https://auth.example.com/a?b=c", Ok("https://auth.example.com/a?b=c")),
            ("https://AUTH.example.com:8443", Ok("https://auth.example.com:8443/")),
            ("https://user@auth.example.com/", Err(FunctionError::Url)),
            ("https://user:secret@auth.example.com/", Err(FunctionError::Url)),
            ("https://auth.example.com/#a", Err(FunctionError::Url)),
            ("https://", Err(FunctionError::Form)),
            ("https://a b.example/", Err(FunctionError::Form)),
            (" https://auth.example.com/", Err(FunctionError::Form)),
            ("https://auth.exam\tple.com/", Err(FunctionError::Form)),
            ("http://auth.example.com/", Err(FunctionError::NotEncrypted)),
            ("ftp://auth.example.com/", Err(FunctionError::Form)),
            ("file:///etc/passwd", Err(FunctionError::Form)),
            ("data:application/json,{}", Err(FunctionError::Form)),
            ("auth", Err(FunctionError::Form)),
            ("", Err(FunctionError::Form)),
        ] {
            assert_eq!(kind(text, false), expected.map(str::to_owned), "{text}");
        }
    }

    #[test]
    fn only_local_deployments_reach_this_machine_and_its_network() {
        const MACHINE: &[&str] = &[
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f.1",
            "localhost",
            "LOCALHOST.",
            "a.localhost",
            "[::1]",
            "[::ffff:127.0.0.1]",
        ];
        for host in MACHINE {
            for scheme in ["http", "https"] {
                assert!(kind(&format!("{scheme}://{host}:8080/"), true).is_ok(), "{host}");
            }
            assert_eq!(kind(&format!("https://{host}/"), false), Err(FunctionError::PrivateHost), "{host}");
            assert_eq!(kind(&format!("http://{host}/"), false), Err(FunctionError::NotEncrypted), "{host}");
        }
        for host in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.2.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "255.255.255.255",
            "[::]",
            "[::ffff:10.0.0.1]",
            "[64:ff9b::a00:1]",
            "[2002:a00:1::]",
            "[64:ff9b:1::101:101]",
            "[::7f00:1]",
            "[2001:0:1::1]",
            "[2001:db8::1]",
            "[3fff:fff::1]",
            "[fc00::1]",
            "[fe80::1]",
            "[ff02::1]",
            "printer",
            "router.local",
            "metadata.google.internal",
        ] {
            assert!(kind(&format!("https://{host}/"), true).is_ok(), "{host}");
            assert_eq!(kind(&format!("http://{host}/"), true), Err(FunctionError::NotEncrypted), "{host}");
            assert_eq!(kind(&format!("https://{host}/"), false), Err(FunctionError::PrivateHost), "{host}");
        }
        for host in [
            "1.1.1.1",
            "100.63.0.1",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.20.0.1",
            "223.255.255.255",
            "[2606:4700::1111]",
            "[64:ff9b::101:101]",
            "[2002:101:101::]",
            "[3fff:1000::1]",
            "[::ffff:1.1.1.1]",
            "localhost.example.com",
        ] {
            assert!(kind(&format!("https://{host}/"), false).is_ok(), "{host}");
            assert_eq!(kind(&format!("http://{host}/"), true), Err(FunctionError::NotEncrypted), "{host}");
        }
    }

    #[test]
    fn a_text_is_2048_characters_long_at_most() {
        let url = |length: usize| format!("https://auth.example.com/{}", "a".repeat(length - 25));
        assert!(kind(&url(2_048), false).is_ok());
        assert_eq!(kind(&url(2_049), false), Err(FunctionError::Length));
        assert_eq!(kind(&"ä".repeat(2_048), false), Err(FunctionError::Form));
    }
}
