//! Amazon Resource Names, built in one place so that every plane spells them alike.

use crate::{AccountId, AuthorizerName, CertificateId, JobId, PolicyName, Region, RuleName, ThingName};
use core::fmt;

/// The account and region that this deployment answers for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Twelve digits.
    pub account_id: AccountId,
    /// For example `us-east-1`.
    pub region: Region,
}

impl Scope {
    /// `arn:aws:iot:{region}:{account}:thing/{name}`.
    #[must_use]
    pub fn thing_arn(&self, name: &ThingName) -> Arn {
        self.iot("thing", name.as_str())
    }

    /// `arn:aws:iot:{region}:{account}:job/{id}`.
    #[must_use]
    pub fn job_arn(&self, id: &JobId) -> Arn {
        self.iot("job", id.as_str())
    }

    /// `arn:aws:iot:{region}:{account}:rule/{name}`.
    #[must_use]
    pub fn rule_arn(&self, name: &RuleName) -> Arn {
        self.iot("rule", name.as_str())
    }

    /// `arn:aws:iot:{region}:{account}:cert/{id}`.
    #[must_use]
    pub fn certificate_arn(&self, id: &CertificateId) -> Arn {
        self.iot("cert", id.as_str())
    }

    /// `arn:aws:iot:{region}:{account}:cacert/{id}`.
    #[must_use]
    pub fn ca_certificate_arn(&self, id: &CertificateId) -> Arn {
        self.iot("cacert", id.as_str())
    }

    /// `arn:aws:iot:{region}:{account}:apikey/{id}`, which AWS does not have.
    #[must_use]
    pub fn api_key_arn(&self, access_key_id: &str) -> Arn {
        self.iot("apikey", access_key_id)
    }

    /// `arn:aws:iot:{region}:{account}:rolealias/{name}`.
    #[must_use]
    pub fn role_alias_arn(&self, name: &str) -> Arn {
        self.iot("rolealias", name)
    }

    /// `arn:aws:iot:{region}:{account}:policy/{name}`.
    #[must_use]
    pub fn policy_arn(&self, name: &PolicyName) -> Arn {
        self.iot("policy", name.as_str())
    }

    /// `arn:aws:iot:{region}:{account}:authorizer/{name}`.
    #[must_use]
    pub fn authorizer_arn(&self, name: &AuthorizerName) -> Arn {
        self.iot("authorizer", name.as_str())
    }

    /// `arn:aws:iot:{region}:{account}:{kind}/{name}`, of a kind whose names have no type of their own.
    #[must_use]
    pub fn resource_arn(&self, kind: &str, name: &str) -> Arn {
        self.iot(kind, name)
    }

    /// `arn:aws:iot:{region}:{account}:thinggroup/{name}`, static and dynamic alike.
    #[must_use]
    pub fn thing_group_arn(&self, name: &str) -> Arn {
        self.iot("thinggroup", name)
    }

    fn iot(&self, kind: &str, name: &str) -> Arn {
        Arn(format!("arn:aws:iot:{}:{}:{kind}/{name}", self.region.as_str(), self.account_id.as_str()))
    }
}

/// An Amazon Resource Name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Arn(String);

impl Arn {
    /// The text as it goes on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name behind `{kind}/` when `text` is an `iot` resource of that kind in any region and account.
    ///
    /// Accounts and regions are not compared: a single deployment has one of each, and tools carry old ones around.
    #[must_use]
    pub fn resource_name<'a>(text: &'a str, kind: &str) -> Option<&'a str> {
        let mut parts = text.splitn(6, ':');
        let (arn, _partition, service) = (parts.next()?, parts.next()?, parts.next()?);
        let (_region, _account, resource) = (parts.next()?, parts.next()?, parts.next()?);
        if arn != "arn" || service != "iot" {
            return None;
        }
        resource.strip_prefix(kind)?.strip_prefix('/')
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_arn_reads_as_aws_writes_it_and_gives_its_name_back() {
        let scope =
            Scope { account_id: AccountId::new("123456789012").unwrap(), region: Region::new("us-east-1").unwrap() };
        let arn = scope.thing_arn(&ThingName::new("lamp:1").unwrap());
        assert_eq!(arn.as_str(), "arn:aws:iot:us-east-1:123456789012:thing/lamp:1");
        assert_eq!(Arn::resource_name(arn.as_str(), "thing"), Some("lamp:1"));
        assert_eq!(Arn::resource_name(arn.as_str(), "thinggroup"), None);
        assert_eq!(Arn::resource_name("arn:aws:iot", "thing"), None);
    }
}
